use proptest::prelude::*;
use serde_json::{Value, json};

use crate::http::json::{JsonFault, null_characters, parse, parse_any_depth};

#[test]
fn numbers_fit_64_bits_or_are_finite_floats() {
    for good in
        ["9223372036854775807", "18446744073709551615", "-9223372036854775808", "1e308", "-0", "0.1", "1E2", "1e-400"]
    {
        assert!(parse(good.as_bytes()).is_ok(), "{good}");
        assert!(parse(format!("{{\"a\":[{good},{good}]}}").as_bytes()).is_ok(), "{good} inside");
    }
    for big in ["18446744073709551616", "-9223372036854775809", "[1,99999999999999999999]"] {
        assert_eq!(parse(big.as_bytes()), Err(JsonFault::IntegerRange), "{big}");
    }
    for malformed in ["1e309", "-1e999", "NaN", "01", "+1", ".5", "1.", "-"] {
        assert!(matches!(parse(malformed.as_bytes()), Err(JsonFault::Malformed { .. })), "{malformed}");
    }
    let text = r#"{"a":"99999999999999999999 \" [[[ 99999999999999999999"}"#;
    assert!(parse(text.as_bytes()).is_ok(), "digits and brackets in a string do not count");
}

#[test]
fn depth_ends_at_128() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(nested(128).as_bytes()).is_ok());
    assert_eq!(parse(nested(129).as_bytes()), Err(JsonFault::TooDeep));
    assert_eq!(parse("[".repeat(1 << 20).as_bytes()), Err(JsonFault::TooDeep));
    let objects = format!("{}1{}", "{\"a\":".repeat(128), "}".repeat(128));
    assert!(parse(objects.as_bytes()).is_ok());
    assert!(parse(format!("[{}]", [nested(127).as_str(); 9].join(",")).as_bytes()).is_ok(), "beside is not below");
    assert!(parse_any_depth(nested(200).as_bytes()).is_ok());
}

#[test]
fn texts_are_utf_8_without_lone_surrogates() {
    assert_eq!(parse(br#""\ud83d\ude00""#), Ok(json!("😀")));
    for bad in [
        br#""\ud83d""#.as_slice(),
        br#""\ude00""#,
        br#""\ud83dx""#,
        b"\"\xff\"",
        b"\"\x00\"",
        b"\xef\xbb\xbf1",
        b"",
        b"{}x",
        b"{\"\xc3\":1}",
    ] {
        assert!(matches!(parse(bad), Err(JsonFault::Malformed { .. })), "{bad:?}");
    }
    assert_eq!(parse(br#"{"a":1,"a":2}"#), Ok(json!({"a": 2})));
}

#[test]
fn null_characters_are_found_everywhere() {
    let value = parse(br#"{"a":["x","\u0000"],"b/c":{"d\u0000":1,"e":"\u0000"}}"#).unwrap();
    let paths: Vec<_> = null_characters(&value).into_iter().map(|fault| fault.path).collect();
    assert_eq!(paths, ["/a/1", "/b~1c", "/b~1c/e"]);
}

proptest! {
    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\",:0-9eE.\\\\-]{0,60}") {
        let _parsed = (parse(&bytes), parse(text.as_bytes()));
    }

    #[test]
    fn what_serde_json_takes_we_take(integer in any::<i64>(), float in any::<f64>(), text in ".{0,20}") {
        let value = json!({"i": integer, "f": float, "s": [text]});
        prop_assert_eq!(parse(value.to_string().as_bytes()), Ok::<Value, _>(value));
    }
}
