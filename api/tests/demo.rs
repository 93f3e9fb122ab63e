//! `dpg demo` as whoever tries it meets it: the real program, in an empty folder, with nothing but the installed Postgres
//! programs. `make test` sees to it that there are some.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Lines};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// The demo's process. Dropping it asks it to end, and waits.
struct Demo {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    folder: PathBuf,
}

/// An empty folder that every account can enter, as a project's folder usually is.
fn empty_folder() -> TempDir {
    let folder = TempDir::with_prefix_in("dpg-demo-", "/var/tmp").unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

impl Demo {
    fn start(folder: &Path, once: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dpg"));
        // A setting that the demo's instances must not inherit.
        command.arg("demo").env("ONCE", once).env("POSTGRES_URL", "postgres://nowhere.invalid/x");
        let mut child = command.current_dir(folder).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, folder: folder.to_owned() }
    }

    /// What it prints until a line with this text, or until it ends.
    fn read_until(&mut self, last: &str) -> Vec<String> {
        let mut read = Vec::new();
        for line in self.lines.by_ref().map(Result::unwrap) {
            read.push(line);
            if read.last().is_some_and(|line| line.contains(last)) {
                break;
            }
        }
        read
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Processes that work somewhere in the demo's folder.
    fn left_over(&self) -> Vec<String> {
        let inside = |entry: &std::fs::DirEntry| {
            std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&self.folder))
        };
        let processes = std::fs::read_dir("/proc").unwrap().flatten().filter(inside);
        processes.map(|entry| entry.path().display().to_string()).collect()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::SIGTERM);
            self.child.wait().unwrap();
        }
    }
}

#[test]
fn goes_as_told_and_cleans_up() {
    let folder = empty_folder();
    let mut demo = Demo::start(folder.path(), "1");
    let story = demo.read_until("\0").join("\n");
    let status = demo.child.wait().unwrap();
    assert!(status.success(), "{status}\n{story}");
    assert!(story.contains("The same 4 events on both sides"), "{story}");
    assert_eq!(demo.left_over(), Vec::<String>::new());
}

#[test]
fn stays_up_with_lines_that_can_be_pasted() {
    let folder = empty_folder();
    let mut demo = Demo::start(folder.path(), "");
    let story = demo.read_until("Ctrl-C ends it.");
    let commands: Vec<_> = story.iter().filter(|line| line.starts_with("curl ")).collect();
    assert!(commands.len() > 5, "{}", story.join("\n"));
    for command in commands {
        // -f: any answer but a 2xx is a failure.
        let output = Command::new("sh").arg("-c").arg(command.replacen("curl ", "curl -f ", 1)).output().unwrap();
        assert!(output.status.success(), "{command}\n{}", String::from_utf8_lossy(&output.stdout));
    }
    demo.signal(Signal::SIGINT);
    let status = demo.child.wait().unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(demo.left_over(), Vec::<String>::new());
}

#[test]
fn ends_in_order_when_interrupted() {
    let folder = empty_folder();
    let mut demo = Demo::start(folder.path(), "1");
    demo.read_until("Asha signs up");
    demo.signal(Signal::SIGINT);
    let status = demo.child.wait().unwrap();
    assert!(!status.success(), "an unfinished demo is no success");
    assert_eq!(demo.left_over(), Vec::<String>::new());
}

#[test]
fn clears_away_what_a_killed_one_left_running() {
    let folder = empty_folder();
    let mut killed = Demo::start(folder.path(), "1");
    killed.read_until("Asha signs up");
    killed.signal(Signal::SIGKILL);
    killed.child.wait().unwrap();
    assert!(!killed.left_over().is_empty(), "nothing to clear away");

    let mut demo = Demo::start(folder.path(), "1");
    let story = demo.read_until("\0").join("\n");
    assert!(demo.child.wait().unwrap().success(), "{story}");
    assert_eq!(demo.left_over(), Vec::<String>::new());
}
