//! References to items in request bodies (CONTRACT 3.2).

use uuid::Uuid;

use super::fields::{Fields, Place};
use super::scalars::{instance_url, name, uuid};

/// An item by its key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ItemRef {
    /// Network.
    pub network: String,
    /// Domain.
    pub domain: String,
    /// Type.
    pub item_type: String,
    /// Id.
    pub id: Uuid,
}

/// An item by its key and the instance that holds it (**ItemRef+**).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ItemRefPlus {
    /// The key.
    pub item: ItemRef,
    /// The instance's URL as it was sent.
    pub instance_url: String,
}

/// Reads an ItemRef; further keys are ignored.
pub fn item_ref(place: &mut Place<'_>) -> Option<ItemRef> {
    place.fields(key)
}

/// Reads an ItemRef+.
pub fn item_ref_plus(place: &mut Place<'_>) -> Option<ItemRefPlus> {
    place.fields(|f| ItemRefPlus { item: key(f), instance_url: f.required("item_instance_url", instance_url) })
}

fn key(f: &mut Fields<'_>) -> ItemRef {
    ItemRef {
        network: f.required("item_network", name),
        domain: f.required("item_domain", name),
        item_type: f.required("item_type", name),
        id: f.required("item_id", uuid),
    }
}
