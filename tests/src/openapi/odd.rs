//! What nobody should send: odd query strings, headers and bodies.

use serde_json::Value;

use super::generate::Generator;

const ODD_QUERIES: &[&str] = &[
    "limit=0",
    "limit=101",
    "limit=",
    "limit=abc",
    "limit=1&limit=2",
    "limit=99999999999999999999999",
    "limit=1e2",
    "offset=-1",
    "offset=9223372036854775807",
    "offset=1&cursor=x",
    "cursor=%00",
    "cursor=eyJ2IjoxfQ",
    "page=0",
    "page=92233720368547758&limit=100",
    "item_state[a][b][c][d][e]=1",
    "item_state[a][b][c][d][e][f]=1",
    "item_state=x",
    "item_state[]=x",
    "item_state[__proto__][x]=1",
    "item_state[tags][999]=x",
    "item_state[a]=%00",
    "item_state[a]=",
    "item_state[%00]=1",
    "item_state[a]=%FF%FE",
    "item_latitude=91&item_longitude=0&radius_meters=1",
    "item_latitude=1",
    "item_latitude=&item_longitude=&radius_meters=",
    "item_latitude=0&item_longitude=180&radius_meters=1e999",
    "item_latitude=0&item_longitude=180&radius_meters=99999999999999999999",
    "radius_meters=0",
    "item_id=x",
    "item_instance_url=ftp%3A%2F%2Fx",
    "update_count=99999999999",
    "ownership_role=none",
    "cache_ttl_seconds=0",
    "cache_ttl_seconds=999999999999999999",
    "%",
    "%zz=%zz",
    "=&&==",
    "[]=1&[a]=2&a[=3&a]=4",
    "{many}",
];

impl Generator<'_> {
    /// A part of a query string.
    pub fn odd_query(&mut self) -> String {
        self.choose(ODD_QUERIES).replace("{many}", &"a=1&".repeat(1001))
    }

    /// A header.
    pub fn odd_header(&mut self) -> (&'static str, String) {
        let long = "k".repeat(256);
        let name = self.choose(&[
            "authorization",
            "x-api-key",
            "cookie",
            "idempotency-key",
            "if-match",
            "dpg-min-position",
            "prefer",
            "x-request-id",
            "origin",
            "signature",
            "signature-input",
            "content-digest",
            "accept",
            "x-forwarded-for",
        ]);
        let value = self.choose(&[
            "",
            "x",
            "Bearer",
            "Bearer x.y",
            "\"1\"",
            "W/\"1\"",
            "\"1\", \"2\"",
            "*",
            "-1",
            "9223372036854775807",
            "9223372036854775808",
            "yellow_dot:1",
            "nowhere:1",
            ":1",
            "é",
            "a b",
            "dpg=:AAAA:",
            "dpg=();created=1",
            "sha-256=:AAAA:",
            "https://evil.example",
            "null",
            "better-auth.session_token=x%00",
            &long,
        ]);
        (name, value.to_owned())
    }

    /// A body and its media type; `good` is one that fits.
    pub fn odd_body(&mut self, good: &Value) -> (&'static str, Vec<u8>) {
        let json = "application/json";
        match self.below(12) {
            0 => (json, Vec::new()),
            1 => (json, b"{".to_vec()),
            2 => (json, b"\xff\xfe".to_vec()),
            3 => (json, br#"{"a":"\ud800"}"#.to_vec()),
            4 => (json, b"[".repeat(5000)),
            5 => (json, br#"{"item_network":1e999}"#.to_vec()),
            6 => (json, b"null".to_vec()),
            7 => (json, b"[]".to_vec()),
            8 => ("text/plain", good.to_string().into_bytes()),
            9 => ("application/json; charset=latin1", good.to_string().into_bytes()),
            10 => ("application/x-www-form-urlencoded", b"a=1".to_vec()),
            _ => (json, format!("{{\"a\":\"{}\"}}", "x".repeat((1 << 20) + 1)).into_bytes()),
        }
    }
}
