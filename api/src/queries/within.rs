//! Items within a circle on Earth (CONTRACT 12): great-circle distance on a sphere. Boxes of longitude and latitude, which
//! an index serves, sort out what is certainly too far; they lose nothing at the poles or across the 180° meridian.

use std::f64::consts::PI;

use super::conditions::Conditions;
use crate::http::filter::Within;

/// Radius of the sphere, in metres.
const EARTH_RADIUS: f64 = 6_378_168.0;

/// Degrees by which boxes are larger than they need be, so that rounding loses no row on an edge.
const MARGIN: f64 = 1e-6;

/// West, south, east, north, in degrees; west is not greater than east.
type Box = [f64; 4];

impl Within {
    /// Adds the condition that an item lies within the circle; items without coordinates do not.
    pub(super) fn must_hold(&self, conditions: &mut Conditions) {
        let boxes: Vec<String> = (self.boxes().into_iter())
            .map(|[west, south, east, north]| {
                let [west, south, east, north] = [west, south, east, north].map(|degrees| float(conditions, degrees));
                format!("point(item_longitude, item_latitude) <@ box(point({west}, {south}), point({east}, {north}))")
            })
            .collect();
        let [latitude, longitude, radius] =
            [self.latitude, self.longitude, self.radius_meters].map(|value| float(conditions, value));
        // The haversine formula; rounding may take the sine of half the circumference over 1.
        conditions.clause(format!(
            "(item_latitude is not null and ({})
              and 2 * {EARTH_RADIUS} * asin(least(1, sqrt(
                    power(sin(radians(item_latitude - {latitude}) / 2), 2)
                    + cos(radians({latitude})) * cos(radians(item_latitude))
                    * power(sin(radians(item_longitude - {longitude}) / 2), 2)))) <= {radius})",
            boxes.join(" or ")
        ));
    }

    /// One box that holds the circle, or two where it lies across the 180° meridian.
    fn boxes(&self) -> Vec<Box> {
        let angle = self.radius_meters / EARTH_RADIUS;
        let south = self.latitude - angle.to_degrees() - MARGIN;
        let north = self.latitude + angle.to_degrees() + MARGIN;
        // The widest meridian touches the circle nearer to the pole than its centre. A circle that holds a pole has none.
        let half = (angle.min(PI).sin() / self.latitude.to_radians().cos()).asin().to_degrees() + MARGIN;
        let (west, east) = (self.longitude - half, self.longitude + half);
        if south <= -90.0 || north >= 90.0 || half.is_nan() {
            vec![[-180.0, south, 180.0, north]]
        } else if west < -180.0 {
            vec![[-180.0, south, east, north], [west + 360.0, south, 180.0, north]]
        } else if east > 180.0 {
            vec![[west, south, 180.0, north], [-180.0, south, east - 360.0, north]]
        } else {
            vec![[west, south, east, north]]
        }
    }
}

/// A placeholder whose type Postgres need not guess.
fn float(conditions: &mut Conditions, value: f64) -> String {
    format!("{}::float8", conditions.parameter(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn distance(one: (f64, f64), other: (f64, f64)) -> f64 {
        let half = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
        let across = one.0.to_radians().cos() * other.0.to_radians().cos() * half(one.1, other.1);
        2.0 * EARTH_RADIUS * (half(one.0, other.0) + across).sqrt().min(1.0).asin()
    }

    fn latitude() -> impl Strategy<Value = f64> {
        prop_oneof![-90.0..=90.0_f64, Just(90.0), Just(-90.0), Just(89.9999), Just(0.0)]
    }

    fn longitude() -> impl Strategy<Value = f64> {
        prop_oneof![-180.0..=180.0_f64, Just(180.0), Just(-180.0), Just(179.9999), Just(-179.9999)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn no_point_of_the_circle_is_outside_the_boxes(
            centre in (latitude(), longitude()),
            point in (latitude(), longitude()),
            more in prop_oneof![Just(0.0), 0.0..1.0e5_f64, 0.0..3.0e7_f64],
        ) {
            // As near as can be, so that edges are met.
            let radius_meters = distance(centre, point) + more;
            prop_assume!(radius_meters > 0.0);
            let boxes = Within { latitude: centre.0, longitude: centre.1, radius_meters }.boxes();
            let holds = |b: &Box| b[0] <= point.1 && point.1 <= b[2] && b[1] <= point.0 && point.0 <= b[3];
            prop_assert!(boxes.iter().any(holds), "{point:?} is outside {boxes:?}");
        }

        #[test]
        fn boxes_are_well_formed(centre in (latitude(), longitude()), radius_meters in 1.0e-9..f64::MAX) {
            for [west, south, east, north] in (Within { latitude: centre.0, longitude: centre.1, radius_meters }).boxes() {
                prop_assert!(west <= east && south <= north);
            }
        }
    }

    #[test]
    fn a_small_circle_has_a_small_box() {
        let circle = Within { latitude: 60.0, longitude: 10.0, radius_meters: 1000.0 };
        let [[west, south, east, north]] = circle.boxes()[..] else { panic!("one box") };
        assert!(east - west < 0.04 && north - south < 0.02);
    }
}
