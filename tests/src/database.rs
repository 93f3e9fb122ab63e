//! A database of its own for every instance, dropped at the end, on the cluster that `make test` started (or on a private
//! one, for tests that kill it).

use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls};
use uuid::Uuid;

use crate::wait::eventually;

/// A uniquely named database.
#[derive(Debug)]
pub struct TestDatabase {
    admin: Config,
    name: String,
}

impl TestDatabase {
    /// Makes a database on the shared cluster.
    ///
    /// # Panics
    /// When `DPG_TEST_POSTGRES` is missing, or the cluster refuses.
    pub async fn create() -> Self {
        Self::create_on(&crate::required("DPG_TEST_POSTGRES")).await
    }

    /// Makes a database on the cluster of an admin URL.
    ///
    /// # Panics
    /// When the cluster refuses.
    pub async fn create_on(admin: &str) -> Self {
        let admin: Config = admin.parse().expect("the admin URL is a Postgres URL");
        let database = Self { admin, name: format!("dpgt_{}", Uuid::new_v4().simple()) };
        let statement = format!("create database {} template template0", database.name);
        eventually("a database is made", Duration::from_secs(30), || async {
            let client = connect(&database.admin).await?;
            client.batch_execute(&statement).await
        })
        .await;
        database
    }

    /// How a process reaches it.
    #[must_use]
    pub fn url(&self) -> String {
        let host = match self.admin.get_hosts().first() {
            Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
            _ => "127.0.0.1".to_owned(),
        };
        let port = self.admin.get_ports().first().copied().unwrap_or(5432);
        let user = self.admin.get_user().unwrap_or("postgres");
        let password = self.admin.get_password().map(String::from_utf8_lossy);
        let password = password.map(|text| format!(":{text}")).unwrap_or_default();
        format!("postgres://{user}{password}@{host}:{port}/{}?sslmode=disable", self.name)
    }

    /// A connection of the test's own.
    ///
    /// # Panics
    /// When there is none to be had.
    pub async fn client(&self) -> Client {
        let mut config = self.admin.clone();
        config.dbname(&self.name).application_name("dpg tests");
        eventually("a connection to the test's database", Duration::from_secs(30), || connect(&config)).await
    }
}

async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        // The error, if any, reaches the caller through the client's next statement.
        if connection.await.is_err() {}
    });
    Ok(client)
}

impl Drop for TestDatabase {
    /// Drops the database from a thread of its own, since a destructor can't wait for the runtime it may run in.
    fn drop(&mut self) {
        let (admin, name) = (self.admin.clone(), self.name.clone());
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(async {
                let client = connect(&admin).await.ok()?;
                client.batch_execute(&format!("drop database if exists {name} with (force)")).await.ok()
            })
        });
        // A private cluster may be gone already, and with it the database.
        if dropping.join().is_err() {
            eprintln!("a test database was left behind");
        }
    }
}
