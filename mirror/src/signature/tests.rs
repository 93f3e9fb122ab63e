use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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

const COVERED: &str = r#""@method" "@authority" "@path" "content-digest""#;
const TERMS: &str = concat!(
    r#";created=1795225984;nonce="q83vEjRWeJCrze8SNFZ4kA";keyid="https://a.example.org""#,
    r#";alg="ed25519";tag="dpg-peer""#
);

/// What becomes of a request whose terms are as given, signed with the right key over just these terms.
fn rightly_signed(covered: &str, terms: &str) -> Result<Verified, SignatureError> {
    let request = head(&[("content-digest", DIGEST)]);
    let value = |name: &str| request.component(name).unwrap_or_else(|| "as the signer sees it".to_owned());
    let lines = covered.split(' ').map(|name| format!("{name}: {}\n", value(name.trim_matches('"'))));
    let base = format!("{}\"@signature-params\": ({covered}){terms}", lines.collect::<String>());
    let signature = STANDARD.encode(PeerKey::parse(PRIVATE).unwrap().sign(base.as_bytes()));
    let (input, signature) = (format!("dpg=({covered}){terms}"), format!("dpg=:{signature}:"));
    check(&head(&[("content-digest", DIGEST), ("signature-input", &input), ("signature", &signature)]), BODY, at())
}

#[test]
fn terms_that_are_not_ours_are_refused_however_well_they_are_signed() {
    assert!(rightly_signed(COVERED, TERMS).is_ok());
    let later = format!("{TERMS};expires=1795225985");
    assert!(rightly_signed(COVERED, &later).is_ok());
    let parameter = |name| SignatureError::Parameter(name);
    let malformed = SignatureError::Malformed("signature-input");
    let more = |count: u32| (0..count).map(|number| format!(";p{number}")).collect::<String>();
    assert!(rightly_signed(COVERED, &format!("{TERMS}{}", more(11))).is_ok());
    let many = more(12);
    for (from, to, error) in [
        ("created=1795225984", "created=-1795225984", SignatureError::Clock(3_590_451_968)),
        ("created=1795225984", "created=999999999999999", SignatureError::Clock(1_795_225_984 - 999_999_999_999_999)),
        ("created=1795225984", "created=9999999999999999", malformed.clone()),
        ("created=1795225984", "created=1795225984.0", malformed.clone()),
        ("created=1795225984", "created=01795225984", malformed.clone()),
        ("created=1795225984", "created=1795225984;created=1795225984", malformed.clone()),
        ("created=1795225984", r#"created="1795225984""#, parameter("created")),
        ("created=1795225984", "created", parameter("created")),
        ("created=1795225984", "created=1795225984;expires=1795225983", parameter("expires")),
        ("created=1795225984", r#"created=1795225984;expires="never""#, parameter("expires")),
        (r#"alg="ed25519""#, "alg=ed25519", parameter("alg")),
        (r#"alg="ed25519""#, r#"alg="Ed25519""#, parameter("alg")),
        (r#";alg="ed25519""#, "", parameter("alg")),
        (r#"tag="dpg-peer""#, "tag=dpg-peer", parameter("tag")),
        (r#"nonce="q83vEjRWeJCrze8SNFZ4kA""#, r#"nonce="""#, parameter("nonce")),
        (r#"keyid="https://a.example.org""#, r#"keyid="""#, parameter("keyid")),
        (r#"keyid="https://a.example.org""#, r#"keyid="https://b.example.org""#, SignatureError::UnknownKey),
        (r#";alg="ed25519""#, &format!(r#";alg="ed25519"{many}"#), malformed.clone()),
    ] {
        assert!(TERMS.contains(from));
        assert_eq!(rightly_signed(COVERED, &TERMS.replacen(from, to, 1)), Err(error), "{to}");
    }
    for (from, to, error) in [
        (r#""@path""#, r#""@path";req"#, malformed.clone()),
        (r#""content-digest""#, r#""content-digest";sf"#, malformed.clone()),
        (r#""@path""#, "@path", malformed),
        (r#""@method""#, r#""@Method""#, SignatureError::NotCovered("@method")),
        (r#""@path""#, r#""@path" "@target-uri""#, SignatureError::Component("@target-uri".to_owned())),
        (r#""@path""#, r#""@path" "Content-Digest""#, SignatureError::Component("Content-Digest".to_owned())),
    ] {
        assert!(COVERED.contains(from));
        assert_eq!(rightly_signed(&COVERED.replace(from, to), TERMS), Err(error), "{to}");
    }
}

#[test]
fn a_header_in_several_lines_is_one_header() {
    let other = r#"proxy=("@method");created=1;note="dpg=(), dpg=\"();""#;
    let mut lines = vec![("content-digest", DIGEST), ("signature-input", other), ("signature-input", INPUT)];
    lines.extend([("signature", SIGNATURE), ("signature", "proxy=:AAAA:")]);
    assert!(check(&head(&lines), BODY, at()).is_ok());
    lines.push(("signature", SIGNATURE));
    assert_eq!(check(&head(&lines), BODY, at()), Err(SignatureError::Malformed("signature")));
}

/// Ed25519 has one signature for one text only if numbers beyond the group's order are no numbers.
#[test]
fn no_signature_can_be_written_in_another_way() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let (key, text) = (PublicKey::parse(PUBLIC).unwrap(), b"a text");
    let signature = PeerKey::parse(PRIVATE).unwrap().sign(text);
    assert!(key.verifies(text, &signature));
    let (mut beyond, mut carry) = (signature.clone(), 0);
    for (byte, more) in beyond[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    let longer = [signature.as_slice(), &[0]].concat();
    for other in [&beyond, &longer, &signature[..63].to_vec()] {
        assert!(!key.verifies(text, other), "{other:x?}");
    }
}

/// RFC 9421 2.2.6, 2.2.7: the path as it was sent, and a question mark alone for an empty query.
#[test]
fn path_and_query_are_signed_as_they_are_sent() {
    let key = PeerKey::parse(PRIVATE).unwrap();
    let sent = |path: &'static str, query: Option<&'static str>, verified: (&'static str, Option<&'static str>)| {
        let unsigned = RequestHead { path, query, ..head(&[]) };
        let signed = sign(&key, KEYID, &unsigned, BODY.as_bytes(), at()).unwrap();
        let headers = signed.headers();
        check(&RequestHead { path: verified.0, query: verified.1, ..head(&headers) }, BODY, at())
    };
    assert!(sent("/a%2fb", Some(""), ("/a%2fb", Some(""))).is_ok());
    assert!(sent("/a", Some(""), ("/a", None)).is_ok(), "covered, an empty query is none");
    assert_eq!(sent("/a", None, ("/a", Some(""))), Err(SignatureError::NotCovered("@query")));
    assert_eq!(sent("/a", Some("b=1"), ("/a", Some("b=%31"))), Err(SignatureError::NotVerified));
    for path in ["/a/b", "/a%2Fb", "/a%2fb/"] {
        assert_eq!(sent("/a%2fb", None, (path, None)), Err(SignatureError::NotVerified), "{path}");
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
    let twice = format!("{0}, {0}", content_digest(b""));
    for nothing in ["", "sha-512=:AAAA:", "sha-256=AAAA", "sha-256=:AAAA:", &twice] {
        assert!(!digest::matches(nothing, b""), "{nothing:?}");
    }
}
