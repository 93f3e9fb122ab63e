//! The story itself: a request for lessons across two instances, an outage, and what is left of it afterwards: nothing.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::call::{Answer, Call};
use super::error::DemoError;
use super::history;
use super::narrator::Narrator;
use super::network::{NETWORK, REQUEST_LESSON};
use super::person::{Person, reference};
use super::stage::Stage;

/// A mirrored event takes milliseconds; after an outage the sender's wait may have to end first.
const MIRROR_WAIT: Duration = Duration::from_secs(120);
/// Made while the student's instance is down.
const CHANGES: &[(&str, &str)] =
    &[("pending", "Looking at my calendar"), ("accepted", "Saturdays at ten"), ("completed", "Ten lessons given")];

/// Who takes part and what they made: what the reader is shown to play on with.
pub(super) struct Cast {
    asha: Person,
    ravi: Person,
    create: Call,
    perform: Call,
    action: String,
}

/// Plays the story up to the point where both sides hold the same history.
pub(super) async fn play<W: Write>(stage: &mut Stage, told: &mut Narrator<W>) -> Result<Cast, DemoError> {
    instances(stage, told).await?;
    let cast = people(stage, told).await?;
    outage(stage, told, &cast).await?;
    repair(stage, told, &cast).await?;
    Ok(cast)
}

async fn instances<W: Write>(stage: &mut Stage, told: &mut Narrator<W>) -> Result<(), DemoError> {
    told.chapter("Two instances of one network start, each with a database of its own.")?;
    told.line(&format!("Postgres  {}", stage.postgres.folder().display()))?;
    stage.student.start(&stage.client).await?;
    stage.tutor.start(&stage.client).await?;
    for instance in [&stage.student, &stage.tutor] {
        let served = format!("{NETWORK}/{}", instance.domain);
        told.line(&format!(
            "{:<8}  {}  serves {served}  log {}",
            instance.domain,
            instance.url,
            instance.log().display()
        ))?;
    }
    Ok(())
}

async fn people<W: Write>(stage: &Stage, told: &mut Narrator<W>) -> Result<Cast, DemoError> {
    let client = &stage.client;
    told.chapter("Asha signs up at the student instance, Ravi at the tutor instance, by one-time code.")?;
    let asha = Person::sign_up(client, &stage.student.url, "student", "Asha", "asha@example.com").await?;
    let ravi = Person::sign_up(client, &stage.tutor.url, "tutor", "Ravi", "ravi@example.com").await?;

    told.chapter("Each of them creates a profile. Phone numbers are private: the owner alone sees them.")?;
    let create = asha.create_item(
        &json!({"name": "Asha", "city": "Pune", "grade": 11, "subject": "mathematics", "languages": ["mr", "en"],
                "phone": "9812345670", "guardian": {"relation": "parent", "name": "Meera", "phone": "9812345671"}}),
        18.5204,
        73.8567,
    );
    let student_item = create.send(client).await?;
    let tutor_state = json!({"name": "Ravi", "city": "Mumbai", "subjects": ["mathematics", "physics"],
                             "experience_years": 7, "hourly_rate": 450, "phone": "9823456780"});
    let tutor_item = ravi.create_item(&tutor_state, 19.0760, 72.8777).send(client).await?;
    told.line(&format!("Asha's item  {}", student_item.text("/item_id")?))?;
    told.line(&format!("Ravi's item  {}", tutor_item.text("/item_id")?))?;
    sees_own_item(stage, &asha, &student_item).await?;

    told.chapter("Asha asks Ravi for lessons: an action from her instance to his.")?;
    let perform = asha.post(
        "action/perform",
        json!({"action_type": REQUEST_LESSON, "source_item": reference(&student_item)?,
               "target_item": reference(&tutor_item)?,
               "requirements_snapshot": {"subject": "mathematics", "preferred_time": "weekends"}}),
    );
    let action = perform.send(client).await?.text("/action_id")?;
    told.line(&format!("action       {action}"))?;
    let received = one(&ravi.action(&action).send(client).await?, "/actions")?;
    let phone = received.pointer("/requirements_snapshot/phone").and_then(Value::as_str);
    if phone != Some("9812345670") {
        return Err(DemoError::Differ(format!("Asha's phone number did not travel with her request: {received}")));
    }
    told.line("Ravi sees it at once, with Asha's phone number: her request hands it over, nothing else does.")?;
    let seconds = until_events(stage, &asha, &action, 1).await?.as_secs_f64();
    told.line(&format!("Asha's instance knows the first event {seconds:.2} s later: it was mirrored back."))?;
    Ok(Cast { asha, ravi, create, perform, action })
}

async fn sees_own_item(stage: &Stage, owner: &Person, created: &Answer) -> Result<(), DemoError> {
    let own = owner.own_items().send(&stage.client).await?;
    let seen = one(&own, "/items")?;
    if seen.get("item_id") != Some(created.value("/item_id")?) || seen.pointer("/item_state/phone").is_none() {
        return Err(DemoError::Differ(format!("the owner's next read does not show the item as created: {seen}")));
    }
    Ok(())
}

async fn outage<W: Write>(stage: &mut Stage, told: &mut Narrator<W>, cast: &Cast) -> Result<(), DemoError> {
    told.chapter("The student instance stops (SIGTERM): it finishes what it has begun and exits with 0.")?;
    stage.student.stop().await?;

    told.chapter("Meanwhile Ravi goes on. Every change commits together with its note in the outbox.")?;
    for (status, remarks) in CHANGES {
        let answer = cast.ravi.set_status(&cast.action, status, remarks).send(&stage.client).await?;
        told.line(&format!("{}  {status:<10} {remarks}", answer.value("/update_count")?))?;
    }
    Ok(())
}

async fn repair<W: Write>(stage: &mut Stage, told: &mut Narrator<W>, cast: &Cast) -> Result<(), DemoError> {
    told.chapter("The student instance comes back; the tutor instance delivers what it missed, in order.")?;
    stage.student.start(&stage.client).await?;
    let all = CHANGES.len() + 1;
    let seconds = until_events(stage, &cast.asha, &cast.action, all).await?.as_secs_f64();
    told.line(&format!("all {all} events are there {seconds:.1} s after the start"))?;

    told.chapter("Both instances are asked for the history of the action, and compared field by field.")?;
    let at_tutor = cast.ravi.events(&cast.action).send(&stage.client).await?;
    let at_student = cast.asha.events(&cast.action).send(&stage.client).await?;
    let (at_tutor, at_student) = (at_tutor.list("/events")?, at_student.list("/events")?);
    for (name, events) in [("tutor", at_tutor), ("student", at_student)] {
        told.line(&format!("{name}:"))?;
        for line in history::lines(events) {
            told.line(&format!("  {line}"))?;
        }
    }
    let mut differences = history::differences(at_tutor, at_student);
    if at_tutor.len() != all {
        differences.push(format!("the tutor holds {} events instead of {all}", at_tutor.len()));
    }
    for (name, person) in [("tutor", &cast.ravi), ("student", &cast.asha)] {
        let row = one(&person.action(&cast.action).send(&stage.client).await?, "/actions")?;
        let (status, count) = (row.get("action_status"), row.get("update_count"));
        if status != Some(&json!("completed")) || count != Some(&json!(CHANGES.len())) {
            differences.push(format!("the {name} shows the action as {status:?}, count {count:?}"));
        }
    }
    if !differences.is_empty() {
        return Err(DemoError::Differ(differences.join("; ")));
    }
    told.line(&format!("The same {all} events on both sides: identities, counts, statuses, payloads, times."))
}

/// What to try next. Each read is tried before it is printed; each write has been made before, or waits to be made.
pub(super) async fn try_next<W: Write>(stage: &Stage, told: &mut Narrator<W>, cast: &Cast) -> Result<(), DemoError> {
    told.chapter("Both stay up. What you could try:")?;
    let second = cast.perform.send(&stage.client).await?.text("/action_id")?;
    until_events(stage, &cast.asha, &second, 1).await?;
    let reads = [
        ("Asha's own item, private fields included", cast.asha.own_items()),
        ("the same, filtered by what is public", cast.asha.get(&filtered())),
        ("the whole history of the action, at the tutor", cast.ravi.events(&cast.action)),
        ("the same at the student, which was away", cast.asha.events(&cast.action)),
        ("the contract, as the instance understands it", cast.asha.get(&format!("network/schemas?network={NETWORK}"))),
    ];
    for (what, call) in &reads {
        call.send(&stage.client).await?;
        told.command(what, &call.curl())?;
    }
    told.command("a second request of Asha's waits for Ravi's answer: accept it", &accept(cast, &second).curl())?;
    told.command("... and see the answer at Asha's", &cast.asha.action(&second).curl())?;
    told.command("ask Ravi once more", &cast.perform.curl())?;
    told.command("another profile for Asha", &cast.create.curl())?;
    let log = "select position, event_type, version, recorded_at from event_log order by position";
    told.command(
        "the tutor's log, where all of it comes from",
        &format!("psql '{}' -c '{log}'", stage.postgres.url("tutor")),
    )
}

fn accept(cast: &Cast, action: &str) -> Call {
    cast.ravi.set_status(action, "accepted", "See you on Saturday")
}

fn filtered() -> String {
    format!("item/fetch?item_network={NETWORK}&item_domain=student&item_state[city]=Pune")
}

/// The single entry of a list.
fn one(answer: &Answer, field: &'static str) -> Result<Value, DemoError> {
    match answer.list(field)? {
        [only] => Ok(only.clone()),
        others => Err(DemoError::Differ(format!("{} entries in {field} instead of one", others.len()))),
    }
}

/// Waits until somebody's instance shows that many events of an action; how long it took.
async fn until_events(stage: &Stage, person: &Person, action: &str, wanted: usize) -> Result<Duration, DemoError> {
    let start = Instant::now();
    loop {
        let answer = person.events(action).send(&stage.client).await?;
        let found = answer.list("/events")?.len();
        if found >= wanted {
            return Ok(start.elapsed());
        }
        if start.elapsed() > MIRROR_WAIT {
            let what = format!("the arrival of {wanted} mirrored events");
            return Err(DemoError::Late { what, seconds: MIRROR_WAIT.as_secs(), seen: format!("{found} events") });
        }
        sleep(Duration::from_millis(50)).await;
    }
}
