//! A circle on Earth as boxes of longitude and latitude: what an index can find, before the distance itself is computed.
//!
//! A box must not lose rows. Around a pole every longitude is near; across the 180° meridian there are two boxes. The
//! half-width in longitude is where a meridian touches the circle: asin(sin r / cos latitude), not r / cos latitude.

use crate::http::filter::Within;

/// Radius of CONTRACT 12's sphere, in metres.
pub(super) const EARTH_RADIUS: f64 = 6_378_168.0;
/// Degrees, about a metre: more than rounding can lose.
const MARGIN: f64 = 1e-5;

/// Degrees; west is not east of east.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    pub(super) west: f64,
    pub(super) south: f64,
    pub(super) east: f64,
    pub(super) north: f64,
}

/// One or two boxes that hold the whole circle.
pub(super) fn boxes(circle: &Within) -> Vec<Bounds> {
    let angle = circle.radius_meters / EARTH_RADIUS;
    let reach = angle.to_degrees() + MARGIN;
    let (south, north) = (circle.latitude - reach, circle.latitude + reach);
    let of = |west: f64, east: f64| Bounds { west, south, east, north };
    if south <= -90.0 || north >= 90.0 {
        return vec![of(-180.0, 180.0)];
    }
    let half = (angle.sin() / circle.latitude.to_radians().cos()).min(1.0).asin().to_degrees() + MARGIN;
    let (west, east) = (circle.longitude - half, circle.longitude + half);
    match (west < -180.0, east > 180.0) {
        (true, true) => vec![of(-180.0, 180.0)],
        (true, false) => vec![of(-180.0, east), of(west + 360.0, 180.0)],
        (false, true) => vec![of(west, 180.0), of(-180.0, east - 360.0)],
        (false, false) => vec![of(west, east)],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// CONTRACT 12's distance, in metres.
    fn distance(a: (f64, f64), b: (f64, f64)) -> f64 {
        let (latitude, longitude) = ((b.0 - a.0).to_radians() / 2.0, (b.1 - a.1).to_radians() / 2.0);
        let h = latitude.sin().powi(2) + a.0.to_radians().cos() * b.0.to_radians().cos() * longitude.sin().powi(2);
        2.0 * EARTH_RADIUS * h.sqrt().min(1.0).asin()
    }

    fn holds(boxes: &[Bounds], (latitude, longitude): (f64, f64)) -> bool {
        boxes.iter().any(|b| (b.south..=b.north).contains(&latitude) && (b.west..=b.east).contains(&longitude))
    }

    #[test]
    fn a_small_circle_has_a_small_box() {
        let boxes = boxes(&Within { latitude: 18.5, longitude: 73.8, radius_meters: 10_000.0 });
        let [only] = boxes.as_slice() else { panic!("{boxes:?}") };
        assert!(only.east - only.west < 0.2 && only.north - only.south < 0.2, "{only:?}");
    }

    #[test]
    fn a_circle_across_the_180th_meridian_has_two_boxes() {
        for longitude in [179.99, -179.99] {
            let boxes = boxes(&Within { latitude: -17.0, longitude, radius_meters: 10_000.0 });
            assert_eq!(boxes.len(), 2);
            assert!(holds(&boxes, (-17.0, 179.95)) && holds(&boxes, (-17.0, -179.95)) && !holds(&boxes, (-17.0, 0.0)));
        }
    }

    #[test]
    fn at_a_pole_every_longitude_is_near() {
        let boxes = boxes(&Within { latitude: 89.99, longitude: 0.0, radius_meters: 10_000.0 });
        assert!(holds(&boxes, (89.99, 180.0)) && holds(&boxes, (90.0, -90.0)) && !holds(&boxes, (89.0, 0.0)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn no_row_within_the_radius_is_lost(
            centre in (-90.0..=90.0, -180.0..=180.0),
            // Near ones are rare among all points of the globe.
            near in (-1.0..=1.0, -1.0..=1.0),
            scale in prop::sample::select(vec![1e-4, 0.01, 1.0, 30.0, 90.0, 180.0]),
        ) {
            let (centre, near): ((f64, f64), (f64, f64)) = (centre, near);
            let wrapped = (centre.1 + near.1 * scale * 2.0 + 540.0).rem_euclid(360.0) - 180.0;
            let point = ((centre.0 + near.0 * scale).clamp(-90.0, 90.0), wrapped);
            let away = distance(centre, point);
            for radius_meters in [away, away * 1.01, away * 2.0, 3e7] {
                let boxes = boxes(&Within { latitude: centre.0, longitude: centre.1, radius_meters });
                prop_assert!(holds(&boxes, point), "{boxes:?}");
            }
        }
    }
}
