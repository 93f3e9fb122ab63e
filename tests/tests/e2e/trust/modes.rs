//! The table of CONTRACT 2.6, row by row and route by route.

use serde_json::Value;

use super::{Bed, Call, ROUTES, Route, Sending};
use dpg_tests::{Answer, port};

const REQUIRED: (u16, &str) = (401, "PEER_SIGNATURE_REQUIRED");
const INVALID: (u16, &str) = (401, "PEER_SIGNATURE_INVALID");
const NOT_REGISTERED: (u16, &str) = (403, "PEER_NOT_REGISTERED");
const MISMATCH: (u16, &str) = (403, "PEER_IDENTITY_MISMATCH");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Off,
    Permissive,
    Enforced,
}

/// Spoils the terms before they are signed.
type Bend = fn(&mut dpg_tests::signer::Terms);

/// Spoils a request after it was signed.
type Change = Box<dyn Fn(Sending) -> Sending + Send>;

/// What must become of a request: believed, or refused with this.
type Verdict = Result<(), (u16, &'static str)>;

#[track_caller]
fn assert_verdict(route: Route, what: &str, mode: Mode, answer: &Answer, verdict: Verdict) {
    match verdict {
        Ok(()) => {
            assert_eq!(answer.status, route.success(), "{mode:?} {route:?}, {what}: {answer}");
            let outcome = &answer.body["results"][0]["outcome"];
            assert!(route != Route::StoreBatch || outcome == "stored", "{mode:?} {route:?}, {what}: {answer}");
        }
        Err((status, code)) => {
            let told = (answer.status, answer.code());
            assert_eq!(told, (status, code), "{mode:?} {route:?}, {what}: {answer}");
            answer.expect_error(status, code);
            assert_eq!(answer.body["error"], answer.body["code"], "the code stands in both: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn off_believes_everybody_but_whoever_is_not_registered_or_claims_to_be_us() {
    every_request("off", Mode::Off).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn permissive_wants_signatures_of_those_who_have_keys() {
    every_request("permissive", Mode::Permissive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn enforced_wants_signatures_of_everybody() {
    every_request("enforced", Mode::Enforced).await;
}

async fn every_request(setting: &str, mode: Mode) {
    let bed = Bed::start(setting, |instance| instance).await;
    for route in ROUTES {
        good(&bed, route, mode).await;
        forged(&bed, route, mode).await;
        unsigned(&bed, route, mode).await;
        if !route.is_read() {
            claims(&bed, route, mode).await;
        }
    }
    bed.node.verify().await;
}

/// A request of the first peer, whose signature is as `sign` makes it.
async fn of_one(bed: &Bed, route: Route) -> Call {
    Call::of(route, bed.body(route, &bed.one.url).await)
}

async fn good(bed: &Bed, route: Route, mode: Mode) {
    let accepted = Ok(());
    let answer = of_one(bed, route).await.signed(bed, &bed.one, |_| {}).send().await;
    assert_verdict(route, "signed", mode, &answer, accepted);
    for off in [-290, 290] {
        let answer = of_one(bed, route).await.signed(bed, &bed.one, |terms| terms.created += off).send().await;
        assert_verdict(route, "a clock within its tolerance", mode, &answer, accepted);
    }
    let alias = bed.one.url.replace("127.0.0.1", "localhost");
    let answer = of_one(bed, route).await.signed(bed, &bed.one, |terms| terms.keyid = alias).send().await;
    assert_verdict(route, "another spelling of the keyid", mode, &answer, accepted);
    let body = bed.body(route, &bed.one.url).await;
    let answer = Call::with_key(route, body, "a-key-of-one").signed(bed, &bed.one, |_| {}).send().await;
    assert_verdict(route, "with a key that is covered", mode, &answer, accepted);
}

/// Signatures that are there and prove nothing.
async fn forged(bed: &Bed, route: Route, mode: Mode) {
    let verdict = if mode == Mode::Off { Ok(()) } else { Err(INVALID) };
    for (what, request) in forgeries(bed, route).await {
        assert_verdict(route, what, mode, &request.send().await, verdict);
    }
    // The key of another network's contract is none in this one.
    let call = Call::of(route, bed.body(route, &bed.elsewhere.url).await);
    let answer = call.signed(bed, &bed.elsewhere, |_| {}).send().await;
    assert_verdict(route, "a key of another network", mode, &answer, verdict);
}

async fn forgeries(bed: &Bed, route: Route) -> Vec<(&'static str, Sending)> {
    let one = &bed.one;
    let mut all = Vec::new();
    let bends: [(&'static str, Bend); 10] = [
        ("expired", |terms| terms.created -= 310),
        ("from the future", |terms| terms.created += 310),
        ("made for another instance", |terms| terms.authority = "b.example.org".to_owned()),
        ("with another tag", |terms| terms.tag = "other".to_owned()),
        ("by another algorithm", |terms| terms.algorithm = "rsa-pss-sha512".to_owned()),
        ("without a nonce", |terms| terms.nonce.clear()),
        ("that covers no method", |terms| terms.covered.retain(|name| *name != "@method")),
        ("that covers no authority", |terms| terms.covered.retain(|name| *name != "@authority")),
        ("that covers no path", |terms| terms.covered.retain(|name| *name != "@path")),
        ("that covers no digest", |terms| terms.covered.retain(|name| *name != "content-digest")),
    ];
    for (what, bend) in bends {
        all.push((what, of_one(bed, route).await.signed(bed, one, bend)));
    }
    let wrong = of_one(bed, route).await.signed(bed, &bed.two, |terms| terms.keyid = one.url.clone());
    all.push(("by another's key", wrong));
    let nobody = port::url(port::free());
    let unknown = of_one(bed, route).await.signed(bed, one, |terms| terms.keyid = nobody);
    all.push(("by somebody unknown", unknown));

    let another = of_one(bed, route).await.signed(bed, one, |_| {});
    let signature = another.headers.iter().find(|(name, _)| *name == "signature").expect("a signature").1.clone();
    let no_text = "dpg=\u{e9}";
    let changes: [(&'static str, Change); 8] = [
        ("of another request", Box::new(move |request| request.header("signature", &signature))),
        ("of another body", Box::new(|request| Sending { text: format!("{} ", request.text), ..request })),
        ("without a digest", Box::new(|request| request.without("content-digest"))),
        ("without its input", Box::new(|request| request.without("signature-input"))),
        ("without the signature", Box::new(|request| request.without("signature"))),
        ("that is no text of signatures", Box::new(|request| request.header("signature-input", "dpg=nonsense"))),
        (
            "in bytes that are no text",
            Box::new(|request| request.header("signature", no_text).header("signature-input", no_text)),
        ),
        ("that doesn't cover the key", Box::new(|request| request.header("idempotency-key", "not-covered"))),
    ];
    for (what, change) in changes {
        all.push((what, change(of_one(bed, route).await.signed(bed, one, |_| {}))));
    }
    all
}

async fn unsigned(bed: &Bed, route: Route, mode: Mode) {
    let answer = of_one(bed, route).await.unsigned(bed).send().await;
    let verdict = match mode {
        Mode::Off => Ok(()),
        Mode::Permissive if route.is_read() => Ok(()),
        Mode::Permissive | Mode::Enforced => Err(REQUIRED),
    };
    assert_verdict(route, "unsigned, with a key in the contract", mode, &answer, verdict);
    for url in [&bed.keyless, &bed.elsewhere.url] {
        let answer = Call::of(route, bed.body(route, url).await).unsigned(bed).send().await;
        let verdict = match mode {
            Mode::Off => Ok(()),
            Mode::Permissive if !route.only_signed() => Ok(()),
            Mode::Permissive | Mode::Enforced => Err(REQUIRED),
        };
        assert_verdict(route, "unsigned, without a key in the contract", mode, &answer, verdict);
    }
}

/// Whom a write says that it speaks for.
async fn claims(bed: &Bed, route: Route, mode: Mode) {
    let (one, own) = (&bed.one, &bed.node.instance.url);
    let by_mode = |off: Verdict, permissive: Verdict, enforced: Verdict| match mode {
        Mode::Off => off,
        Mode::Permissive => permissive,
        Mode::Enforced => enforced,
    };
    let call = |body: Value| Call::of(route, body);

    let other = call(bed.body(route, &bed.two.url).await).signed(bed, one, |_| {}).send().await;
    let verdict = by_mode(Ok(()), Err(MISMATCH), Err(MISMATCH));
    assert_verdict(route, "signed by another peer", mode, &other, verdict);

    // Nobody speaks for us: not unsigned, not as a peer, and not with our own key.
    let as_host = |host: &str| own.replace("127.0.0.1", host);
    let spellings =
        [own.clone(), as_host("localhost"), as_host("a:b@LOCALHOST"), as_host("[::1]"), format!("{own}/path")];
    for spelling in spellings {
        let ours = call(bed.body(route, &spelling).await);
        let verdict = by_mode(Err(MISMATCH), Err(MISMATCH), Err(REQUIRED));
        assert_verdict(route, "unsigned in our name", mode, &ours.unsigned(bed).send().await, verdict);
        for signer in [one, &bed.own] {
            let answer = ours.signed(bed, signer, |_| {}).send().await;
            assert_verdict(route, "signed in our name", mode, &answer, Err(MISMATCH));
        }
    }

    let nobody = port::url(port::free());
    let strange = call(bed.body(route, &nobody).await);
    let permissive = if route.only_signed() { REQUIRED } else { NOT_REGISTERED };
    let verdict = by_mode(Err(NOT_REGISTERED), Err(permissive), Err(REQUIRED));
    assert_verdict(route, "of a stranger", mode, &strange.unsigned(bed).send().await, verdict);
    let answer = strange.signed(bed, one, |_| {}).send().await;
    assert_verdict(route, "of a stranger, signed by a peer", mode, &answer, Err(NOT_REGISTERED));
    if matches!(route, Route::Perform | Route::UpdateStatus) {
        let answer = call(bed.body(route, &bed.tutors.url).await).signed(bed, &bed.tutors, |_| {}).send().await;
        assert_verdict(route, "of a domain that isn't theirs", mode, &answer, Err(NOT_REGISTERED));
    }
}
