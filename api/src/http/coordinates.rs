//! The coordinate pair of CONTRACT 1.4: both absent, both null, or both numbers.

use serde_json::Value;

use super::fields::{Fields, Found};
use super::scalars::number;

/// What a request says about a place on Earth.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Coordinates {
    /// Neither coordinate was sent.
    #[default]
    Absent,
    /// Both were sent as null.
    Null,
    /// Both were sent.
    At {
        /// Degrees, −90…90.
        latitude: f64,
        /// Degrees, −180…180.
        longitude: f64,
    },
}

enum Coordinate {
    Absent,
    Null,
    At(f64),
    Faulty,
}

impl Fields<'_> {
    /// Reads `item_latitude` and `item_longitude`. In a query an empty one is absent.
    pub fn coordinates(&mut self) -> Coordinates {
        use Coordinate::{Absent, At, Faulty, Null};
        let latitude = self.coordinate("item_latitude", 90.0);
        let longitude = self.coordinate("item_longitude", 180.0);
        match (latitude, longitude) {
            (At(latitude), At(longitude)) => return Coordinates::At { latitude, longitude },
            (Null, Null) => return Coordinates::Null,
            (Absent, Absent) | (Faulty, _) | (_, Faulty) => {}
            (Absent, _) | (Null, At(_)) => self.half_a_pair("item_latitude", "item_longitude"),
            (_, Absent) | (At(_), Null) => self.half_a_pair("item_longitude", "item_latitude"),
        }
        Coordinates::Absent
    }

    fn coordinate(&mut self, name: &'static str, limit: f64) -> Coordinate {
        match self.find_number(name.into()) {
            Found::Absent => Coordinate::Absent,
            Found::Faulty => Coordinate::Faulty,
            Found::Value(Value::Null) => Coordinate::Null,
            Found::Value(value) => {
                let degrees = self.read(name.into(), value, number(-limit..=limit));
                degrees.map_or(Coordinate::Faulty, Coordinate::At)
            }
        }
    }

    fn half_a_pair(&mut self, half: &str, other: &str) {
        self.fault(half, format!("has to be sent with {other}, both as numbers or both as null"));
    }
}
