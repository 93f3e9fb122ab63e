//! Reads of `items`.

use chrono::{DateTime, Utc};
use dpg_eventstore::Database;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::conditions::Conditions;
use super::cursor::KeyType;
use super::{Listing, Page, PageRequest, QueryError};
use crate::commands::payload::{parse, timestamp};
use crate::contract::{Contracts, InstanceUrl};
use crate::http::filter::{ItemFilter, Within};

const ITEMS: Listing = Listing {
    table: "items_live.items",
    projection: "items",
    columns: "item_network, item_domain, item_type, item_id, item_instance_url, item_schema_url, item_state, \
              item_private_state, item_latitude, item_longitude, created_by, created_at, updated_at, version",
    keys: &[("created_at", KeyType::Time), ("item_id", KeyType::Uuid)],
    network: "item_network",
    only_network: Some("$1"),
    position: "created_position",
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
    /// The private half; never goes out by itself.
    #[serde(skip)]
    pub private: Box<RawValue>,
    /// For the `ETag` of an answer that is a single item.
    #[serde(skip)]
    pub version: i32,
}

impl ItemRow {
    /// Takes what is private by this contract out of the public half.
    fn split_by(mut self, contracts: &Contracts) -> serde_json::Result<Self> {
        let (public, private) = (parse(&self.item_state)?, parse(&self.private)?);
        let kind = (self.item_network.as_str(), self.item_domain.as_str(), self.item_type.as_str());
        if let Some((public, private)) = contracts.resplit(kind, &public, &private) {
            self.item_state = to_raw_value(&public)?;
            self.private = to_raw_value(&private)?;
        }
        Ok(self)
    }
}

impl Page<ItemRow> {
    /// The page as it may be seen by this contract. Every page of items goes through here: as long as its domain is
    /// `unsplit`, an older contract may have split a row (CONTRACT 8.6). Whether it is has to be asked before the rows are.
    fn split_by(self, contracts: &Contracts, unsplit: bool) -> Result<Self, QueryError> {
        if !unsplit {
            return Ok(self);
        }
        let rows = self.rows.into_iter().map(|row| row.split_by(contracts)).collect::<serde_json::Result<_>>()?;
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
) -> Result<Page<ItemRow>, QueryError> {
    let client = database.client().await?;
    let unsplit = contracts.is_unsplit(&filter.network, &filter.domain);
    let mut conditions = matching(contracts, filter, unsplit);
    conditions.equal("created_by", Some(owner.to_owned()));
    ITEMS.page(&client, conditions, page, &(owner, filter), read).await?.split_by(contracts, unsplit)
}

/// Radius of CONTRACT 12's sphere, in metres.
const EARTH_RADIUS: f64 = 6_378_168.0;

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

/// The great-circle distance, by the haversine formula; the band of latitudes is what an index can serve.
fn within(conditions: &mut Conditions, circle: &Within) {
    let latitude = float(conditions, circle.latitude);
    let longitude = float(conditions, circle.longitude);
    let radius = float(conditions, circle.radius_meters);
    let band = float(conditions, (circle.radius_meters / EARTH_RADIUS).to_degrees() + 1e-9);
    conditions.clause(format!(
        "(item_latitude between {latitude} - {band} and {latitude} + {band}
          and 2 * {EARTH_RADIUS} * asin(least(1, sqrt(
                power(sin(radians(item_latitude - {latitude}) / 2), 2)
                + cos(radians({latitude})) * cos(radians(item_latitude))
                * power(sin(radians(item_longitude - {longitude}) / 2), 2)))) <= {radius})"
    ));
}

fn read(row: &Row) -> (ItemRow, Vec<String>) {
    let created_at = timestamp(row.get::<_, DateTime<Utc>>("created_at"));
    let item_id: Uuid = row.get("item_id");
    let key = vec![created_at.clone(), item_id.to_string()];
    let item = ItemRow {
        item_network: row.get("item_network"),
        item_domain: row.get("item_domain"),
        item_type: row.get("item_type"),
        item_id,
        item_instance_url: row.get("item_instance_url"),
        item_schema_url: row.get("item_schema_url"),
        item_state: row.get::<_, Json<Box<RawValue>>>("item_state").0,
        item_latitude: row.get("item_latitude"),
        item_longitude: row.get("item_longitude"),
        created_by: row.get("created_by"),
        created_at,
        updated_at: timestamp(row.get::<_, DateTime<Utc>>("updated_at")),
        private: row.get::<_, Json<Box<RawValue>>>("item_private_state").0,
        version: row.get("version"),
    };
    (item, key)
}
