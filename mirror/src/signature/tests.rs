use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::sign::sign_with_nonce;
use super::*;

const PRIVATE: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const PUBLIC: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
const BODY: &str = r#"{"item_network":"yellow_dot","item_domain":"tutor"}"#;
const KEYID: &str = "https://a.example.org";
const DIGEST: &str = "sha-256=:VrX0ITKrjVRbf6Bmz3PiKU7my3lwLc2/z4xQN2BmRt0=:";
const INPUT: &str = concat!(
    r#"dpg=("@method" "@authority" "@path" "content-digest");created=1795225984;nonce="q83vEjRWeJCrze8SNFZ4kA";"#,
    r#"keyid="https://a.example.org";alg="ed25519";tag="dpg-peer""#
);
const SIGNATURE: &str =
    "dpg=:t8LjdhaCzE+q37WKH+C645N/wAxKqW+j0fZXXrAOdyCE/qLx9Faw6Yhedk3C9Xqmj9SN1VZe1g8HU9Cit/ZrBQ==:";

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_225_984, 0).unwrap()
}

fn head<'a>(headers: &'a [(&'a str, &'a str)]) -> RequestHead<'a> {
    RequestHead {
        method: "POST",
        authority: "b.example.org",
        path: "/api/v1/network/item/count_local",
        query: None,
        headers,
    }
}

fn check(head: &RequestHead<'_>, body: &str, now: DateTime<Utc>) -> Result<Verified, SignatureError> {
    let presented = Presented::read(head, body.as_bytes())?.expect("a signature");
    let keys = |keyid: &str| if keyid == KEYID { vec![PublicKey::parse(PUBLIC).unwrap()] } else { Vec::new() };
    presented.verify(head, keys, |authority| authority == "b.example.org", now)
}

#[test]
fn the_contracts_test_vector() {
    let key = PeerKey::parse(PRIVATE).unwrap();
    assert_eq!(key.public_key(), PublicKey::parse(PUBLIC).unwrap());
    let signed = sign_with_nonce(&key, KEYID, &head(&[]), BODY.as_bytes(), at(), "q83vEjRWeJCrze8SNFZ4kA").unwrap();
    assert_eq!(signed.content_digest, DIGEST);
    assert_eq!(signed.signature_input, INPUT);
    assert_eq!(signed.signature, SIGNATURE);
    let headers = [("Content-Digest", DIGEST), ("Signature-Input", INPUT), ("Signature", SIGNATURE)];
    let verified = check(&head(&headers), BODY, at()).unwrap();
    assert_eq!((verified.keyid.as_str(), verified.nonce.as_str()), (KEYID, "q83vEjRWeJCrze8SNFZ4kA"));
}

#[test]
fn anything_amiss_is_found() {
    let headers = [("content-digest", DIGEST), ("signature-input", INPUT), ("signature", SIGNATURE)];
    let good = head(&headers);
    assert!(check(&good, BODY, at()).is_ok());
    assert_eq!(check(&good, "{}", at()), Err(SignatureError::Digest));
    for off in [-300, 300] {
        assert!(check(&good, BODY, at() + TimeDelta::seconds(off)).is_ok());
    }
    for off in [-301, 301] {
        assert_eq!(check(&good, BODY, at() + TimeDelta::seconds(off)), Err(SignatureError::Clock(off)));
    }
    assert_eq!(check(&RequestHead { method: "PUT", ..good }, BODY, at()), Err(SignatureError::NotVerified));
    assert_eq!(check(&RequestHead { path: "/x", ..good }, BODY, at()), Err(SignatureError::NotVerified));
    assert_eq!(check(&RequestHead { authority: "c.example.org", ..good }, BODY, at()), Err(SignatureError::Authority));
    assert_eq!(
        check(&RequestHead { query: Some("a=1"), ..good }, BODY, at()),
        Err(SignatureError::NotCovered("@query"))
    );
    let mut with_key = headers.to_vec();
    with_key.push(("idempotency-key", "k"));
    assert_eq!(check(&head(&with_key), BODY, at()), Err(SignatureError::NotCovered("idempotency-key")));
}

#[test]
fn malformed_headers_are_told_from_missing_ones() {
    assert!(matches!(Presented::read(&head(&[]), b""), Ok(None)));
    let read = |input: &str, signature: &str| {
        let headers = [("content-digest", DIGEST), ("signature-input", input), ("signature", signature)];
        Presented::read(&head(&headers), BODY.as_bytes()).map(|presented| presented.is_some())
    };
    assert_eq!(read(INPUT, SIGNATURE), Ok(true));
    let others = r#"proxy=("@method");created=1, "#;
    assert_eq!(read(&format!("{others}{INPUT}"), &format!("proxy=:AAAA:, {SIGNATURE}")), Ok(true));
    assert_eq!(read(&format!("{INPUT}, {INPUT}"), SIGNATURE), Err(SignatureError::Malformed("signature-input")));
    for bad in ["", "dpg", "dpg=()", r#"dpg=("@method""#, "dpg=(\"@method\");created", "sig1=();created=1", "dpg=(a)"] {
        assert!(read(bad, SIGNATURE).is_err(), "{bad}");
    }
    for bad in ["", "dpg=x", "dpg=:###:", "other=:AAAA:"] {
        assert_eq!(read(INPUT, bad), Err(SignatureError::Malformed("signature")), "{bad}");
    }
    for (from, to, error) in [
        ("ed25519", "rsa-pss-sha512", SignatureError::Parameter("alg")),
        ("dpg-peer", "other", SignatureError::Parameter("tag")),
        (r#";tag="dpg-peer""#, "", SignatureError::Parameter("tag")),
        ("created=1795225984;", "", SignatureError::Parameter("created")),
        (r#"nonce="q83vEjRWeJCrze8SNFZ4kA";"#, "", SignatureError::Parameter("nonce")),
        (r#" "@path""#, "", SignatureError::NotCovered("@path")),
        (r#""@path""#, r#""@path" "@path""#, SignatureError::Component("@path".to_owned())),
        (r#""@path""#, r#""@path" "@status""#, SignatureError::Component("@status".to_owned())),
        (r#""@path""#, r#""@path" "x-absent""#, SignatureError::Component("x-absent".to_owned())),
    ] {
        assert_eq!(read(&INPUT.replace(from, to), SIGNATURE), Err(error));
    }
}

#[test]
fn a_signer_without_a_registered_key_is_unknown() {
    let headers = [("content-digest", DIGEST), ("signature-input", INPUT), ("signature", SIGNATURE)];
    let head = head(&headers);
    let presented = Presented::read(&head, BODY.as_bytes()).unwrap().unwrap();
    assert_eq!(presented.verify(&head, |_| Vec::new(), |_| true, at()), Err(SignatureError::UnknownKey));
    let other = PeerKey::generate().unwrap().key.public_key();
    assert_eq!(presented.verify(&head, |_| vec![other], |_| true, at()), Err(SignatureError::NotVerified));
    let both = vec![other, PublicKey::parse(PUBLIC).unwrap()];
    assert!(presented.verify(&head, |_| both, |_| true, at()).is_ok(), "each key of an instance counts");
}

#[test]
fn keys_are_read_in_every_form() {
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
    let public = PublicKey::parse(&format!("ed25519:{PUBLIC}")).unwrap();
    assert_eq!(PeerKey::parse(pem).unwrap().public_key(), public);
    assert_eq!(PeerKey::parse(&format!(" {PRIVATE}\n")).unwrap().public_key(), public);
    assert_eq!(public.to_string(), format!("ed25519:{PUBLIC}"));
    let generated = PeerKey::generate().unwrap();
    let again = PeerKey::parse(generated.private.reveal()).unwrap();
    assert_eq!(again.public_key(), generated.key.public_key());
    assert!(!format!("{generated:?}").contains(generated.private.reveal()));
    assert_eq!(PeerKey::parse("AAAA").unwrap_err(), KeyError::Length);
    assert_eq!(PeerKey::parse("not base64").unwrap_err(), KeyError::Encoding);
    assert_eq!(PeerKey::parse(&pem.replace("MC4C", "MC4D")).unwrap_err(), KeyError::Pkcs8);
    assert_eq!(PublicKey::parse("ed25519:AAAA").unwrap_err(), KeyError::Length);
}

proptest! {
    #[test]
    fn what_we_sign_verifies_and_nothing_else_does(
        path in "/[a-z0-9/%._-]{0,40}", query in proptest::option::of("[a-z0-9=&%]{0,20}"),
        key in proptest::option::of("[!-~]{1,40}"), body in ".{0,200}", flip in 0usize..64,
    ) {
        let pair = PeerKey::parse(PRIVATE).unwrap();
        let mut headers: Vec<(&str, &str)> = key.iter().map(|key| ("idempotency-key", key.as_str())).collect();
        let unsigned = RequestHead { path: &path, query: query.as_deref(), ..head(&headers) };
        let signed = sign(&pair, KEYID, &unsigned, body.as_bytes(), at()).unwrap();
        headers.extend(signed.headers());
        let request = RequestHead { headers: &headers, ..head(&[]) };
        let request = RequestHead { path: &path, query: query.as_deref(), ..request };
        prop_assert!(check(&request, &body, at()).is_ok());

        let mut presented = Presented::read(&request, body.as_bytes()).unwrap().unwrap();
        presented.corrupt(flip);
        let keys = |_: &str| vec![PublicKey::parse(PUBLIC).unwrap()];
        prop_assert_eq!(presented.verify(&request, keys, |_| true, at()), Err(SignatureError::NotVerified));
    }

    #[test]
    fn no_header_makes_it_panic(input in ".{0,120}", signature in ".{0,80}", digest in ".{0,60}") {
        let headers = [
            ("content-digest", digest.as_str()), ("signature-input", input.as_str()), ("signature", signature.as_str()),
        ];
        let read = Presented::read(&head(&headers), b"{}");
        prop_assert!(read.is_err(), "{:?}", read);
    }
}

/// RFC 9421, appendix B.2.6, with the key of B.1.4: the signature base, its signature, and both halves of the key.
#[test]
fn the_rfcs_vector_for_ed25519() {
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n-----END PRIVATE KEY-----\n";
    let key = PeerKey::parse(pem).unwrap();
    assert_eq!(key.public_key(), PublicKey::parse("JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=").unwrap());
    let headers = [
        ("Host", "example.com"),
        ("Date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("Content-Type", "application/json"),
        ("Content-Length", "18"),
    ];
    let head = RequestHead {
        method: "POST",
        authority: "example.com",
        path: "/foo",
        query: Some("param=Value&Pet=dog"),
        headers: &headers,
    };
    let input = concat!(
        r#"("date" "@method" "@path" "@authority" "content-type" "content-length")"#,
        r#";created=1618884473;keyid="test-key-ed25519""#
    );
    let (components, parameters) = structured::parse_inner_list(input).unwrap();
    let base = signature_base(&head, &components, &parameters).unwrap();
    assert_eq!(
        base,
        format!(
            "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\"@method\": POST\n\"@path\": /foo\n\"@authority\": example.com\n\
             \"content-type\": application/json\n\"content-length\": 18\n\"@signature-params\": {input}"
        )
    );
    let signature = ":wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:";
    let signature = structured::bytes(signature).unwrap();
    assert!(key.public_key().verifies(base.as_bytes(), &signature));
    assert_eq!(key.sign(base.as_bytes()), signature, "Ed25519 has one signature for one text");
    assert!(!key.public_key().verifies(base.replace("POST", "PUT").as_bytes(), &signature));
}

/// RFC 9530: digests of its examples' body, with and without the line's end, and of nothing, which a GET covers.
#[test]
fn digests_are_those_of_the_rfc() {
    for (body, digest) in [
        ("{\"hello\": \"world\"}\n", "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"),
        ("{\"hello\": \"world\"}", "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"),
        ("", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"),
    ] {
        assert_eq!(content_digest(body.as_bytes()), digest);
        assert!(digest::matches(digest, body.as_bytes()));
        let beside_another = format!("md5=:AAAA:, {digest}, sha-512=:AAAA:");
        assert!(digest::matches(&beside_another, body.as_bytes()), "digests by other algorithms are passed over");
        assert!(!digest::matches(digest, format!("{body} ").as_bytes()));
    }
    for nothing in ["", "sha-512=:AAAA:", "sha-256=AAAA", "sha-256=:AAAA:"] {
        assert!(!digest::matches(nothing, b""), "{nothing:?}");
    }
}
