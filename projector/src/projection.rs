//! The three projections and their SQL. A text is made from the files of `sql/projections/` by filling in its
//! placeholders: `{schema}` for the build of the tables, `{fold}` for the fold, `{streams}` for the part of all streams
//! that is wanted.

/// A table that is folded from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Projection {
    /// Items as clients read them.
    Items,
    /// Actions with their current status.
    ItemActions,
    /// The history of actions.
    ActionEvents,
}

impl std::fmt::Display for Projection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Projection {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Items, Self::ItemActions, Self::ActionEvents];

    /// The table's name, by which checkpoints and the quarantine know it too.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Items => "items",
            Self::ItemActions => "item_actions",
            Self::ActionEvents => "action_events",
        }
    }

    /// The projection of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|projection| projection.as_str() == name)
    }

    /// The schema that clients read. Each projection has one of its own, so that two builds can stand side by side.
    #[must_use]
    pub const fn live_schema(self) -> &'static str {
        match self {
            Self::Items => "items_live",
            Self::ItemActions => "item_actions_live",
            Self::ActionEvents => "action_events_live",
        }
    }

    /// The event types that can change the table. The end of an item also ends the actions that aim at it.
    pub(crate) const fn event_types(self) -> &'static [&'static str] {
        match self {
            Self::Items => &["item.created", "item.updated", "item.deleted"],
            Self::ItemActions => {
                &["action.performed", "action.status_updated", "action.event_mirrored", "item.deleted"]
            }
            Self::ActionEvents => &["action.performed", "action.status_updated", "action.event_mirrored"],
        }
    }

    /// Columns that make a row, for comparing two builds.
    pub(crate) const fn key_columns(self) -> [&'static str; 3] {
        match self {
            Self::Items => ["item_domain", "item_type", "item_id"],
            Self::ItemActions => ["partition_network", "action_type", "action_id"],
            Self::ActionEvents => ["partition_network", "action_type", "event_id"],
        }
    }

    /// The column with the stream's id.
    pub(crate) const fn stream_column(self) -> &'static str {
        match self {
            Self::Items => "item_id",
            Self::ItemActions | Self::ActionEvents => "action_id",
        }
    }

    /// First-level and second-level partition columns.
    pub(crate) const fn partition_columns(self) -> (&'static str, &'static str) {
        match self {
            Self::Items => ("item_network", "item_domain"),
            Self::ItemActions | Self::ActionEvents => ("partition_network", "action_type"),
        }
    }

    /// What the names of its partitions begin with.
    pub(crate) const fn partition_prefix(self) -> &'static str {
        match self {
            Self::Items => "i_p",
            Self::ItemActions => "a_p",
            Self::ActionEvents => "e_p",
        }
    }

    /// The second-level partition key of an event `l`, as SQL.
    pub(crate) const fn partition_key_of_event(self) -> &'static str {
        match self {
            Self::Items => "l.payload ->> 'item_domain'",
            Self::ItemActions | Self::ActionEvents => "l.payload -> 'action' ->> 'action_type'",
        }
    }

    /// Makes the table in `schema`, without secondary indexes and partitions.
    #[must_use]
    pub fn table_sql(self, schema: &str) -> String {
        self.file(Kind::Table).replace("{schema}", schema)
    }

    /// Makes the secondary indexes.
    #[must_use]
    pub fn index_sql(self, schema: &str) -> String {
        self.file(Kind::Index).replace("{schema}", schema)
    }

    /// Brings the live table from one position to another: `$1` network, `$2` from (exclusive), `$3` to (inclusive).
    #[must_use]
    pub(crate) fn live_sql(self) -> String {
        self.folded(Kind::Live, self.live_schema(), "true")
    }

    /// Fills an empty table: parameters as for the live fold. `streams` is a condition on `l.stream_id`.
    #[must_use]
    pub(crate) fn fresh_sql(self, schema: &str, streams: &str) -> String {
        self.folded(Kind::Fresh, schema, streams)
    }

    fn folded(self, kind: Kind, schema: &str, streams: &str) -> String {
        self.file(kind)
            .replace("{fold}", self.file(Kind::Fold).trim_end())
            .replace("{streams}", streams)
            .replace("{schema}", schema)
    }

    const fn file(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Self::Items, Kind::Table) => include_str!("../../sql/projections/items.table.sql"),
            (Self::Items, Kind::Index) => include_str!("../../sql/projections/items.index.sql"),
            (Self::Items, Kind::Fold) => include_str!("../../sql/projections/items.fold.sql"),
            (Self::Items, Kind::Live) => include_str!("../../sql/projections/items.live.sql"),
            (Self::Items, Kind::Fresh) => include_str!("../../sql/projections/items.fresh.sql"),
            (Self::ItemActions, Kind::Table) => include_str!("../../sql/projections/item_actions.table.sql"),
            (Self::ItemActions, Kind::Index) => include_str!("../../sql/projections/item_actions.index.sql"),
            (Self::ItemActions, Kind::Fold) => include_str!("../../sql/projections/item_actions.fold.sql"),
            (Self::ItemActions, Kind::Live) => include_str!("../../sql/projections/item_actions.live.sql"),
            (Self::ItemActions, Kind::Fresh) => include_str!("../../sql/projections/item_actions.fresh.sql"),
            (Self::ActionEvents, Kind::Table) => include_str!("../../sql/projections/action_events.table.sql"),
            (Self::ActionEvents, Kind::Index) => include_str!("../../sql/projections/action_events.index.sql"),
            (Self::ActionEvents, Kind::Fold) => include_str!("../../sql/projections/action_events.fold.sql"),
            (Self::ActionEvents, Kind::Live) => include_str!("../../sql/projections/action_events.live.sql"),
            (Self::ActionEvents, Kind::Fresh) => include_str!("../../sql/projections/action_events.fresh.sql"),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Table,
    Index,
    Fold,
    Live,
    Fresh,
}
