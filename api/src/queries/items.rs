//! Reads of `items`.

use chrono::{DateTime, Utc};
use dpg_eventstore::Database;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::circle::{self, EARTH_RADIUS};
use super::conditions::Conditions;
use super::cursor::KeyType;
use super::{Listing, Page, PageRequest, QueryError};
use crate::commands::payload::{parse, timestamp};
use crate::contract::{Contracts, InstanceUrl};
use crate::http::filter::{ItemFilter, Within};

/// What everybody may see: the private half is not even read.
const PUBLIC: Listing = Listing {
    table: "items_live.items",
    projection: "items",
    columns: "item_network, item_domain, item_type, item_id, item_instance_url, item_schema_url, item_state, \
              item_latitude, item_longitude, created_by, created_at, updated_at, version",
    keys: &[("created_at", KeyType::Time), ("item_id", KeyType::Uuid)],
    network: "item_network",
    only_network: Some("$1"),
    position: "created_position",
};

/// What an owner sees of their own.
const OWN: Listing = Listing {
    columns: "item_network, item_domain, item_type, item_id, item_instance_url, item_schema_url, item_state, \
              item_private_state, item_latitude, item_longitude, created_by, created_at, updated_at, version",
    ..PUBLIC
};

/// Sort keys of a cursor.
pub const KEYS: &[KeyType] = &[KeyType::Time, KeyType::Uuid];

/// An item as it goes out (CONTRACT 3.1). Its state is passed on as Postgres gave it.
#[derive(Debug, Clone, Serialize)]
pub struct ItemRow {
    item_network: String,
    item_domain: String,
    item_type: String,
    item_id: Uuid,
    item_instance_url: String,
    item_schema_url: String,
    /// The public half, until the private one is merged in for the owner.
    pub item_state: Box<RawValue>,
    item_latitude: Option<f64>,
    item_longitude: Option<f64>,
    created_by: String,
    created_at: String,
    updated_at: String,
    /// For the `ETag` of an answer that is a single item.
    #[serde(skip)]
    pub version: i32,
}

impl ItemRow {
    /// Takes what is private by this contract out of the public half and puts it into `private`. Whoever reads items of a
    /// domain that is unsplit has to: an older contract may have split the row (CONTRACT 8.6).
    fn split_by(mut self, contracts: &Contracts, private: &mut Box<RawValue>) -> serde_json::Result<Self> {
        let kind = (self.item_network.as_str(), self.item_domain.as_str(), self.item_type.as_str());
        let halves = contracts.resplit(kind, &parse(&self.item_state)?, &parse(private)?);
        if let Some((public, all_private)) = halves {
            self.item_state = to_raw_value(&public)?;
            *private = to_raw_value(&all_private)?;
        }
        Ok(self)
    }
}

/// An item of the owner who reads it.
#[derive(Debug, Clone)]
pub struct OwnItem {
    /// The item with its public half.
    pub item: ItemRow,
    /// The private half; never goes out by itself.
    pub private: Box<RawValue>,
}

impl OwnItem {
    /// Whether it has private values.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.private.get() != "{}"
    }
}

impl<T> Page<T> {
    /// The page with every row split again, if its domain is unsplit; which has to be asked before the rows are read.
    fn split_again(self, unsplit: bool, split: impl Fn(T) -> serde_json::Result<T>) -> Result<Self, QueryError> {
        if !unsplit {
            return Ok(self);
        }
        let rows = self.rows.into_iter().map(split).collect::<serde_json::Result<_>>()?;
        Ok(Self { meta: self.meta, rows })
    }
}

/// A page of one owner's items.
///
/// # Errors
/// [`QueryError`].
pub async fn of_owner(
    database: &Database,
    contracts: &Contracts,
    owner: &str,
    filter: &ItemFilter,
    page: &PageRequest,
) -> Result<Page<OwnItem>, QueryError> {
    let client = database.client().await?;
    let unsplit = contracts.is_unsplit(&filter.network, &filter.domain);
    let mut conditions = matching(contracts, filter, unsplit);
    conditions.equal("created_by", Some(owner.to_owned()));
    let read_own = |row: &Row| {
        let (item, key) = read(row)?;
        let Json(private) = row.try_get("item_private_state")?;
        Ok((OwnItem { item, private }, key))
    };
    let page = OWN.page(&client, conditions, page, &(owner, filter), read_own).await?;
    page.split_again(unsplit, |OwnItem { item, mut private }| {
        Ok(OwnItem { item: item.split_by(contracts, &mut private)?, private })
    })
}

/// A page of everybody's items, as everybody may see them. Its cursors belong to `filter`.
///
/// # Errors
/// [`QueryError`].
pub async fn of_everybody(
    database: &Database,
    contracts: &Contracts,
    filter: &ItemFilter,
    page: &PageRequest,
) -> Result<Page<ItemRow>, QueryError> {
    let client = database.client().await?;
    let unsplit = contracts.is_unsplit(&filter.network, &filter.domain);
    let page = PUBLIC.page(&client, counted(contracts, filter, unsplit), page, filter, read).await?;
    page.split_again(unsplit, |item| item.split_by(contracts, &mut to_raw_value(&Map::<String, Value>::new())?))
}

/// How many items of everybody's match.
///
/// # Errors
/// [`QueryError`].
pub async fn count(database: &Database, contracts: &Contracts, filter: &ItemFilter) -> Result<i64, QueryError> {
    let client = database.client().await?;
    let unsplit = contracts.is_unsplit(&filter.network, &filter.domain);
    let conditions = counted(contracts, filter, unsplit);
    let statement = client.prepare_cached(&format!("select {} as total", conditions.total(PUBLIC.table))).await?;
    Ok(client.query_one(&statement, &conditions.parameters()).await?.try_get("total")?)
}

/// The filters; of all items of a domain the fold has kept the number.
fn counted(contracts: &Contracts, filter: &ItemFilter, unsplit: bool) -> Conditions {
    let mut conditions = matching(contracts, filter, unsplit);
    // The first two conditions are network and domain.
    if conditions.len() == 2 {
        conditions.total_is(
            "coalesce((select count from items_live.item_counts where item_network = $1 and item_domain = $2), 0)"
                .to_owned(),
        );
    }
    conditions
}

/// The filters of CONTRACT 1.6. Private properties live outside the public state, so a filter on one matches nothing; in an
/// `unsplit` domain some still stand inside, so types in which a filter could meet one are left out.
fn matching(contracts: &Contracts, filter: &ItemFilter, unsplit: bool) -> Conditions {
    let mut conditions = Conditions::default();
    conditions.equal("item_network", Some(filter.network.clone()));
    conditions.equal("item_domain", Some(filter.domain.clone()));
    conditions.equal("item_id", filter.item_id);
    conditions.equal("item_type", filter.item_type.clone());
    conditions.equal("item_schema_url", filter.schema_url.clone());
    if let Some(url) = &filter.instance_url {
        // Items in our log are ours by whichever alias of our address; rows are compared as they were written.
        if !InstanceUrl::parse(url).is_ok_and(|url| contracts.is_own(&url)) {
            conditions.equal("item_instance_url", Some(url.clone()));
        }
    }
    for leaf in filter.leaves() {
        if unsplit {
            let types_of = |object| contracts.types_hidden_from(&filter.network, &filter.domain, object);
            let hidden: Vec<String> = leaf.any_of.iter().flat_map(types_of).map(str::to_owned).collect();
            let hidden = conditions.parameter(hidden);
            conditions.clause(format!("item_type <> all ({hidden}::text[])"));
        }
        let alternatives: Vec<String> = (leaf.any_of.into_iter())
            .map(|object| format!("item_state @> {}", conditions.parameter(Json(object))))
            .collect();
        conditions.clause(format!("({})", alternatives.join(" or ")));
    }
    if let Some(circle) = &filter.within {
        within(&mut conditions, circle);
    }
    conditions
}

/// A placeholder whose type Postgres need not guess.
fn float(conditions: &mut Conditions, value: f64) -> String {
    format!("{}::float8", conditions.parameter(value))
}

/// The great-circle distance, by the haversine formula, of what the index on points finds in the circle's boxes.
fn within(conditions: &mut Conditions, circle: &Within) {
    let boxes: Vec<String> = (circle::boxes(circle).into_iter())
        .map(|bounds| {
            let [west, south, east, north] =
                [bounds.west, bounds.south, bounds.east, bounds.north].map(|value| float(conditions, value));
            format!("point(item_longitude, item_latitude) <@ box(point({west}, {south}), point({east}, {north}))")
        })
        .collect();
    let latitude = float(conditions, circle.latitude);
    let longitude = float(conditions, circle.longitude);
    let radius = float(conditions, circle.radius_meters);
    conditions.clause(format!(
        "(item_latitude is not null and ({})
          and 2 * {EARTH_RADIUS} * asin(least(1, sqrt(
                power(sin(radians(item_latitude - {latitude}) / 2), 2)
                + cos(radians({latitude})) * cos(radians(item_latitude))
                * power(sin(radians(item_longitude - {longitude}) / 2), 2)))) <= {radius})",
        boxes.join(" or ")
    ));
}

fn read(row: &Row) -> Result<(ItemRow, Vec<String>), tokio_postgres::Error> {
    let created_at = timestamp(row.try_get::<_, DateTime<Utc>>("created_at")?);
    let item_id: Uuid = row.try_get("item_id")?;
    let key = vec![created_at.clone(), item_id.to_string()];
    let item = ItemRow {
        item_network: row.try_get("item_network")?,
        item_domain: row.try_get("item_domain")?,
        item_type: row.try_get("item_type")?,
        item_id,
        item_instance_url: row.try_get("item_instance_url")?,
        item_schema_url: row.try_get("item_schema_url")?,
        item_state: row.try_get::<_, Json<Box<RawValue>>>("item_state")?.0,
        item_latitude: row.try_get("item_latitude")?,
        item_longitude: row.try_get("item_longitude")?,
        created_by: row.try_get("created_by")?,
        created_at,
        updated_at: timestamp(row.try_get::<_, DateTime<Utc>>("updated_at")?),
        version: row.try_get("version")?,
    };
    Ok((item, key))
}
