//! What the story is played on: one private Postgres with a database per instance, two instances, and a folder that is
//! wiped at the start and kept at the end, for a look at the logs.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use reqwest::Client;

use super::call;
use super::error::{DemoError, Told};
use super::instance::{self, Instance, url_of};
use super::network;
use crate::embedded::Embedded;

/// Everything that runs. Whatever way the story ends, [`Stage::close`] stops it in order; dropping it kills.
pub(super) struct Stage {
    pub(super) client: Client,
    pub(super) student: Instance,
    pub(super) tutor: Instance,
    pub(super) postgres: Embedded,
    _lock: Flock<File>,
}

impl Stage {
    /// Wipes what an earlier demo left in `root`, starts Postgres, writes contract and settings.
    pub(super) async fn set(root: &Path) -> Result<Self, DemoError> {
        std::fs::create_dir_all(root).told("make", root)?;
        let root = root.canonicalize().told("find", root)?;
        let lock = lock(&root.join("demo.lock"))?;
        let folder = root.join("demo");
        wipe(&folder).await?;
        std::fs::create_dir_all(&folder).told("make", &folder)?;

        let [student_port, tutor_port] = free_ports()?;
        let contract = network::contract(&url_of(student_port), &url_of(tutor_port));
        let file = folder.join("network.json");
        std::fs::write(&file, contract).told("write", &file)?;

        let postgres = Embedded::start(&folder).await?;
        for database in ["student", "tutor"] {
            postgres.ensure_database(database).await?;
        }
        Ok(Self {
            client: call::client()?,
            student: Instance::prepare(&folder, "student", student_port, &postgres.url("student"))?,
            tutor: Instance::prepare(&folder, "tutor", tutor_port, &postgres.url("tutor"))?,
            postgres,
            _lock: lock,
        })
    }

    /// Stops the instances, then Postgres. Goes on after a failure, and tells the first one.
    pub(super) async fn close(mut self) -> Result<(), DemoError> {
        let (student, tutor) = tokio::join!(self.student.stop(), self.tutor.stop());
        let postgres = self.postgres.stop().await;
        student.and(tutor).and(postgres.map_err(DemoError::from))
    }
}

async fn wipe(folder: &Path) -> Result<(), DemoError> {
    for domain in ["student", "tutor"] {
        instance::end_left_over(&folder.join(domain)).await?;
    }
    Embedded::remove(folder).await?;
    if folder.exists() { std::fs::remove_dir_all(folder).told("remove", folder) } else { Ok(()) }
}

fn lock(path: &PathBuf) -> Result<Flock<File>, DemoError> {
    let file = File::options().create(true).truncate(false).write(true).open(path).told("open", path)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, Errno::EWOULDBLOCK)) => Err(DemoError::Busy(path.clone())),
        Err((_, source)) => Err(DemoError::System { action: "lock the demo's folder", source }),
    }
}

/// Two ports that nobody listens on. Both are held until both are known, so that they differ.
fn free_ports() -> Result<[u16; 2], DemoError> {
    let listen = || TcpListener::bind(("0.0.0.0", 0)).told("listen on", Path::new("a free port"));
    let port = |listener: &TcpListener| listener.local_addr().told("look at", Path::new("a free port"));
    let (first, second) = (listen()?, listen()?);
    Ok([port(&first)?.port(), port(&second)?.port()])
}
