//! Against the installed server programs; `make test` sees to it that there are some.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::AsyncBufReadExt;
use tokio_postgres::{Client, NoTls};

use super::server::Running;
use super::{Embedded, EmbeddedError};

/// A folder that every account can enter, as a project's folder usually is.
fn open_folder() -> TempDir {
    let folder = TempDir::with_prefix_in("dpg-embedded-", "/var/tmp").unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn setting(client: &Client, name: &str) -> String {
    client.query_one("select current_setting($1)", &[&name]).await.unwrap().get(0)
}

fn pid_of(embedded: &Embedded) -> Pid {
    match Running::of(&embedded.home).unwrap() {
        Running::Yes { pid, .. } => pid,
        other => panic!("no server: {other:?}"),
    }
}

async fn until_gone(embedded_pid: Pid) {
    for _ in 0..3_000 {
        // A dead child stays a zombie until it is waited for.
        let status = std::fs::read_to_string(format!("/proc/{embedded_pid}/stat")).unwrap_or_default();
        if status.is_empty() || status.contains(") Z ") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("process {embedded_pid} is still there");
}

#[tokio::test]
async fn starts_durable_and_private_and_keeps_its_data() {
    let root = open_folder();
    let embedded = Embedded::start(root.path()).await.unwrap();
    assert!(!embedded.is_adopted());
    embedded.ensure_database("student").await.unwrap();
    embedded.ensure_database("student").await.unwrap();
    embedded.ensure_database("odd \"name\"/%").await.unwrap();
    let odd = connect(&embedded.url("odd \"name\"/%")).await;
    let name: String = odd.query_one("select current_database()::text", &[]).await.unwrap().get(0);
    assert_eq!(name, "odd \"name\"/%");

    let client = connect(&embedded.url("student")).await;
    for durable in ["fsync", "synchronous_commit", "full_page_writes"] {
        assert_eq!(setting(&client, durable).await, "on", "{durable}");
    }
    assert_eq!(setting(&client, "listen_addresses").await, "");
    client.batch_execute("create table kept (x int); insert into kept values (7)").await.unwrap();

    let password = embedded.folder().join("password");
    assert_eq!(std::fs::metadata(&password).unwrap().mode() & 0o777, 0o600);
    let wrong = embedded.url("student").replace(std::fs::read_to_string(&password).unwrap().as_str(), "wrong");
    assert!(tokio_postgres::connect(&wrong, NoTls).await.is_err(), "any password is accepted");

    let pid = pid_of(&embedded);
    embedded.stop().await.unwrap();
    until_gone(pid).await;

    let again = Embedded::start(root.path()).await.unwrap();
    let kept: i32 = connect(&again.url("student")).await.query_one("select x from kept", &[]).await.unwrap().get(0);
    assert_eq!(kept, 7);
    again.stop().await.unwrap();
    Embedded::remove(root.path()).await.unwrap();
}

#[tokio::test]
async fn has_a_process_group_and_an_account_of_its_own() {
    let root = open_folder();
    let embedded = Embedded::start(root.path()).await.unwrap();
    let pid = pid_of(&embedded);
    assert_eq!(nix::unistd::getpgid(Some(pid)).unwrap(), pid, "Ctrl-C would reach the server");
    assert_ne!(std::fs::metadata(format!("/proc/{pid}")).unwrap().uid(), 0, "the server runs as root");
    embedded.stop().await.unwrap();
    Embedded::remove(root.path()).await.unwrap();
}

#[tokio::test]
async fn an_adopter_leaves_and_the_starter_goes_on() {
    let root = open_folder();
    let first = Embedded::start(root.path()).await.unwrap();
    let pid = pid_of(&first);
    let second = Embedded::start(root.path()).await.unwrap();
    assert!(second.is_adopted());
    assert_eq!(pid_of(&second), pid);
    second.stop().await.unwrap();
    connect(&first.url("postgres")).await;
    drop(first);
    until_gone(pid).await;
    Embedded::remove(root.path()).await.unwrap();
}

#[tokio::test]
async fn the_starter_leaves_and_the_last_adopter_stops_the_server() {
    let root = open_folder();
    let starter = Embedded::start(root.path()).await.unwrap();
    let pid = pid_of(&starter);
    let adopter = Embedded::start(root.path()).await.unwrap();
    let dropped = Embedded::start(root.path()).await.unwrap();
    let client = connect(&adopter.url("postgres")).await;
    starter.stop().await.unwrap();
    drop(dropped);
    client.query_one("select 1", &[]).await.unwrap();
    assert_eq!(pid_of(&adopter), pid);
    adopter.stop().await.unwrap();
    until_gone(pid).await;
    assert!(!root.path().join("postgres/data/postmaster.pid").exists(), "the server did not stop in order");
    Embedded::remove(root.path()).await.unwrap();
}

#[tokio::test]
async fn a_killed_starter_counts_no_more() {
    let root = open_folder();
    let mut starter = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::tests::starter_to_be_killed", "--ignored", "--nocapture"])
        .env("DPG_TEST_ROOT", root.path())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = tokio::io::BufReader::new(starter.stdout.take().unwrap()).lines();
    while !lines.next_line().await.unwrap().expect("the starter has ended").contains("started here") {}
    let adopter = Embedded::start(root.path()).await.unwrap();
    assert!(adopter.is_adopted());
    let pid = pid_of(&adopter);
    starter.kill().await.unwrap();
    connect(&adopter.url("postgres")).await;
    adopter.stop().await.unwrap();
    until_gone(pid).await;
    Embedded::remove(root.path()).await.unwrap();
}

#[tokio::test]
#[ignore = "the process that a_killed_starter_counts_no_more kills"]
async fn starter_to_be_killed() {
    let Some(root) = std::env::var_os("DPG_TEST_ROOT") else { return };
    let embedded = Embedded::start(Path::new(&root)).await.unwrap();
    println!("\nstarted here");
    std::future::pending::<()>().await;
    drop(embedded);
}

#[tokio::test]
async fn who_starts_while_the_last_one_stops_has_a_server() {
    let root = open_folder();
    let mut last = Embedded::start(root.path()).await.unwrap();
    for _ in 0..5 {
        let (stopped, started) = tokio::join!(last.stop(), Embedded::start(root.path()));
        stopped.unwrap();
        last = started.unwrap();
        connect(&last.url("postgres")).await.query_one("select 1", &[]).await.unwrap();
    }
    last.stop().await.unwrap();
    Embedded::remove(root.path()).await.unwrap();
}

#[tokio::test]
async fn a_death_is_noticed() {
    let root = open_folder();
    let embedded = Embedded::start(root.path()).await.unwrap();
    let died = tokio::spawn(embedded.died());
    kill(pid_of(&embedded), Signal::SIGKILL).unwrap();
    assert!(matches!(died.await.unwrap(), EmbeddedError::Died(_)));
    embedded.stop().await.unwrap();
    Embedded::remove(root.path()).await.unwrap();
}

#[tokio::test]
async fn five_at_once_share_one_server() {
    let root = open_folder();
    let starts = (0..5).map(|_| Embedded::start(root.path()));
    let all: Vec<_> = futures_util::future::join_all(starts).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(all.iter().filter(|embedded| !embedded.is_adopted()).count(), 1);
    for embedded in all {
        embedded.stop().await.unwrap();
    }
    Embedded::remove(root.path()).await.unwrap();
}

#[tokio::test]
async fn starts_again_after_a_kill_and_over_a_stale_file() {
    let root = open_folder();
    let embedded = Embedded::start(root.path()).await.unwrap();
    let client = connect(&embedded.url("postgres")).await;
    client.batch_execute("create table kept (x int); insert into kept values (1)").await.unwrap();
    let pid = pid_of(&embedded);
    kill(pid, Signal::SIGKILL).unwrap();
    until_gone(pid).await;
    let pid_file = embedded.folder().join("data/postmaster.pid");
    assert!(pid_file.exists(), "nothing stale to look at");
    drop(embedded);

    let after_kill = Embedded::start(root.path()).await.unwrap();
    assert!(!after_kill.is_adopted());
    connect(&after_kill.url("postgres")).await.query_one("select x from kept", &[]).await.unwrap();
    let text = std::fs::read_to_string(&pid_file).unwrap();
    after_kill.stop().await.unwrap();

    // After a reboot the number may belong to anything, for instance to this very test.
    let (_, rest) = text.split_once('\n').unwrap();
    std::fs::write(&pid_file, format!("{}\n{rest}", std::process::id())).unwrap();
    let after_reboot = Embedded::start(root.path()).await.unwrap();
    assert!(!after_reboot.is_adopted());
    after_reboot.stop().await.unwrap();
    Embedded::remove(root.path()).await.unwrap();
}

#[tokio::test]
async fn a_long_path_is_no_obstacle() {
    let root = open_folder();
    let deep = root.path().join("a".repeat(120)).join("b c");
    let embedded = Embedded::start(&deep).await.unwrap();
    connect(&embedded.url("postgres")).await;
    embedded.stop().await.unwrap();
    Embedded::remove(&deep).await.unwrap();
}

#[tokio::test]
async fn a_closed_folder_puts_the_data_where_the_server_can_go() {
    let root = open_folder();
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let embedded = Embedded::start(root.path()).await.unwrap();
    let home = embedded.folder();
    assert_eq!(home.starts_with(root.path()), !nix::unistd::geteuid().is_root());
    embedded.stop().await.unwrap();
    // The door is opened: the data stays where it is.
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let again = Embedded::start(root.path()).await.unwrap();
    assert_eq!(again.folder(), home);
    again.stop().await.unwrap();
    Embedded::remove(root.path()).await.unwrap();
    assert!(!home.exists());
}

#[tokio::test]
async fn a_lost_password_is_told_and_nothing_is_made_anew() {
    let root = open_folder();
    let embedded = Embedded::start(root.path()).await.unwrap();
    let home = embedded.folder();
    embedded.stop().await.unwrap();
    std::fs::remove_file(home.join("password")).unwrap();
    let error = Embedded::start(root.path()).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::NoPassword(_)), "{error}");
    Embedded::remove(root.path()).await.unwrap();
    assert!(!Path::new(&home).exists());
}
