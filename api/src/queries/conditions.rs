//! A `where` clause put together from the filters that were given; values are always parameters.

use tokio_postgres::types::ToSql;

/// Conditions that all must hold.
#[derive(Default)]
pub(super) struct Conditions {
    clauses: Vec<String>,
    parameters: Vec<Box<dyn ToSql + Sync + Send>>,
    total: Option<String>,
}

impl Conditions {
    /// Adds a parameter and returns its placeholder.
    pub(super) fn parameter(&mut self, value: impl ToSql + Sync + Send + 'static) -> String {
        self.parameters.push(Box::new(value));
        format!("${}", self.parameters.len())
    }

    /// Adds a condition.
    pub(super) fn clause(&mut self, clause: String) {
        self.clauses.push(clause);
    }

    /// Adds `column = value`, if there is a value.
    pub(super) fn equal<T: ToSql + Sync + Send + 'static>(&mut self, column: &str, value: Option<T>) {
        if let Some(value) = value {
            let place = self.parameter(value);
            self.clause(format!("{column} = {place}"));
        }
    }

    /// How many conditions there are.
    pub(super) fn len(&self) -> usize {
        self.clauses.len()
    }

    /// An expression that knows how many rows match, so that nobody has to count them.
    pub(super) fn total_is(&mut self, expression: String) {
        self.total = Some(expression);
    }

    /// The number of rows of `table` that match, as an expression.
    pub(super) fn total(&self, table: &str) -> String {
        match &self.total {
            Some(known) => known.clone(),
            None => format!("(select count(*) from {table} where {})", self.sql()),
        }
    }

    /// All conditions, as they stand now.
    pub(super) fn sql(&self) -> String {
        match self.clauses.is_empty() {
            true => "true".to_owned(),
            false => self.clauses.join(" and "),
        }
    }

    /// The parameters in order.
    pub(super) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.parameters
            .iter()
            .map(|value| {
                let value: &(dyn ToSql + Sync) = &**value;
                value
            })
            .collect()
    }
}
