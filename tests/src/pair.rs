//! The two instances that most tests talk to: one serves students, one serves tutors; or one that serves both.

use serde_json::json;

use crate::network::{STUDENT, TUTOR};
use crate::{Client, Contract, Instance, PeerKey, Process, Proxy, Role, TestDatabase, User, log, port};

/// An instance with one process that does everything.
pub struct Node {
    /// The process.
    pub process: Process,
    /// Its instance.
    pub instance: Instance,
}

impl Node {
    /// An instance of both domains, ready.
    pub async fn both() -> Self {
        Self::both_with(Contract::new(), |instance| instance).await
    }

    /// As [`Node::both`], with another contract (instances are added here) and settings.
    pub async fn both_with(contract: Contract, settings: impl FnOnce(Instance) -> Instance) -> Self {
        let port = port::free();
        let url = port::url(port);
        let contract = contract.instance(STUDENT, &url).instance(TUTOR, &url);
        let instance = Instance::new("both", &[STUDENT, TUTOR], &url, TestDatabase::create().await, &contract);
        Self::of(settings(instance), port).await
    }

    /// Starts an instance on a port.
    pub async fn of(instance: Instance, port: u16) -> Self {
        let process = instance.start(Role::Serve, port).await;
        Self { process, instance }
    }

    /// Signs a new person in.
    pub async fn sign_up(&self, name: &str) -> User {
        self.process.sign_up(name).await
    }

    /// Signs a new admin in.
    pub async fn sign_up_admin(&self) -> User {
        Client::sign_up_admin(&self.process.url()).await
    }

    /// Checks everything that must hold of an instance at rest: dense log, projections equal to a fresh fold, outbox.
    pub async fn verify(&self) {
        log::verify(&self.instance).await;
    }
}

/// How a pair is to be.
#[derive(Default)]
pub struct PairOptions {
    /// Its contract, without instances.
    pub contract: Contract,
    /// Whether a fault proxy stands before the student instance.
    pub proxied_student: bool,
    /// Whether a fault proxy stands before the tutor instance.
    pub proxied_tutor: bool,
    /// Whether both have a key, and sign.
    pub signed: bool,
    /// Variables for both.
    pub environment: Vec<(&'static str, String)>,
}

/// Two instances that know each other.
pub struct Pair {
    /// Holds source items.
    pub student: Node,
    /// Holds target items, and so the actions.
    pub tutor: Node,
    /// The line to the student instance.
    pub student_line: Option<Proxy>,
    /// The line to the tutor instance.
    pub tutor_line: Option<Proxy>,
}

impl Pair {
    /// Two instances with a database each on the shared cluster, ready.
    pub async fn start() -> Self {
        Self::with(PairOptions::default()).await
    }

    /// As [`Pair::start`], otherwise.
    pub async fn with(options: PairOptions) -> Self {
        let database = TestDatabase::create().await;
        Self::with_tutor_database(options, database).await
    }

    /// As [`Pair::with`], with the tutor's database elsewhere.
    pub async fn with_tutor_database(options: PairOptions, tutor_database: TestDatabase) -> Self {
        Self::with_databases(options, TestDatabase::create().await, tutor_database).await
    }

    /// As [`Pair::with`], with both databases elsewhere.
    pub async fn with_databases(
        options: PairOptions,
        student_database: TestDatabase,
        tutor_database: TestDatabase,
    ) -> Self {
        let (student_port, tutor_port) = (port::free(), port::free());
        let student_line = line(options.proxied_student, student_port).await;
        let tutor_line = line(options.proxied_tutor, tutor_port).await;
        let student_url = student_line.as_ref().map_or_else(|| port::url(student_port), Proxy::url);
        let tutor_url = tutor_line.as_ref().map_or_else(|| port::url(tutor_port), Proxy::url);
        let mut contract = options.contract.instance(STUDENT, &student_url).instance(TUTOR, &tutor_url);
        let keys = [PeerKey::make(), PeerKey::make()];
        if options.signed {
            contract = contract.edit(|document| {
                for (number, key) in keys.iter().enumerate() {
                    document["instances"][number]["public_key"] = json!(key.public);
                }
            });
        }

        let mut student = Instance::new("student", &[STUDENT], &student_url, student_database, &contract);
        let mut tutor = Instance::new("tutor", &[TUTOR], &tutor_url, tutor_database, &contract);
        if options.signed {
            student = student.set("PEER_PRIVATE_KEY", &keys[0].private);
            tutor = tutor.set("PEER_PRIVATE_KEY", &keys[1].private);
        }
        for (variable, value) in &options.environment {
            student = student.set(variable, value);
            tutor = tutor.set(variable, value);
        }
        let student = Node::of(student, student_port).await;
        let tutor = Node::of(tutor, tutor_port).await;
        Self { student, tutor, student_line, tutor_line }
    }
}

async fn line(wanted: bool, upstream: u16) -> Option<Proxy> {
    if wanted { Some(Proxy::start(upstream).await) } else { None }
}

/// Two people, an item each, and an action between them that both instances know.
pub struct Scene {
    /// Owns the source item.
    pub asha: User,
    /// Owns the target item.
    pub ravi: User,
    /// The source item.
    pub source: serde_json::Value,
    /// The target item.
    pub target: serde_json::Value,
    /// The action.
    pub action: String,
}

impl Scene {
    /// Sets it up between two nodes, which may be one and the same.
    pub async fn of(student: &Node, tutor: &Node) -> Self {
        let (asha, ravi) = (student.sign_up("asha").await, tutor.sign_up("ravi").await);
        let (source, target) = (asha.create_student("Asha").await, ravi.create_tutor("Ravi").await);
        let action = asha.perform(&source, &target).send().await.expect(201).text_at("action_id");
        log::arrives(&asha, &action, 0).await;
        Self { asha, ravi, source, target, action }
    }

    /// The scene between the instances of a pair.
    pub async fn of_pair(pair: &Pair) -> Self {
        Self::of(&pair.student, &pair.tutor).await
    }
}
