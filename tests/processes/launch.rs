//! Starts a scenario's processes by `mpirun`, and does not wait for them for ever.

use super::Scenario;
use alexnet_vgg::train::processes::{Mpi, ProcessGroup};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first argument of a process that plays.
pub const PLAY: &str = "--play";

/// For anything that is started here. What would hang ends by it, and fails its test.
pub const LIMIT: Duration = Duration::from_secs(120);

/// In a process that `mpirun` has started.
pub fn play(scenario: Option<Scenario>, folder: &Path) -> ExitCode {
    // If nobody else ends it.
    std::thread::spawn(|| {
        std::thread::sleep(LIMIT + Duration::from_secs(30));
        std::process::abort();
    });
    let Some(scenario) = scenario else { return ExitCode::FAILURE };
    let mpi = match Mpi::start() {
        Ok(mpi) => Arc::new(mpi),
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let process = std::process::id().to_string();
    fs::write(folder.join(format!("process {}", mpi.rank())), process).expect("a file");
    match (scenario.play)(&mpi, folder).and_then(|()| mpi.finish()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => mpi.abort(error),
    }
}

pub fn library() -> String {
    let version = mpi::environment::library_version().expect("text");
    version.lines().next().unwrap_or_default().trim_end_matches('\0').to_string()
}

/// The launcher of the MPI that this program was built with. Debian installs both under such names.
pub fn mpirun() -> String {
    let library = library();
    if let Ok(name) = std::env::var("ALEXNET_VGG_MPIRUN") {
        return name;
    }
    let name = if library.contains("Open MPI") { "mpirun.openmpi" } else { "mpirun.mpich" };
    let is_there = Command::new(name).arg("--version").stdout(Stdio::null()).status().is_ok();
    if is_there { name.into() } else { "mpirun".into() }
}

/// The launcher of the other MPI, if both are installed as Debian does it.
pub fn other_mpirun() -> Option<&'static str> {
    let is_open_mpi = library().contains("Open MPI");
    let other = if is_open_mpi { "mpirun.mpich" } else { "mpirun.openmpi" };
    let is_there = Command::new(other).arg("--version").stdout(Stdio::null()).status().is_ok();
    is_there.then_some(other)
}

/// A job at work.
pub struct Job {
    mpirun: Child,
    folder: tempfile::TempDir,
    start: Instant,
}

/// How a job has ended.
pub struct Ended {
    pub status: ExitStatus,
    /// What it said: stdout and stderr.
    pub said: String,
    pub after: Duration,
    folder: tempfile::TempDir,
}

impl Scenario {
    pub fn start(&self, ranks: usize) -> Job {
        self.start_by(&mpirun(), ranks, &[])
    }

    pub fn start_by(&self, mpirun: &str, ranks: usize, environment: &[(&str, &str)]) -> Job {
        let mut command = Command::new(mpirun);
        command.args(["-np", &ranks.to_string()]);
        self.start_command(command, environment)
    }

    /// On so many hosts, by `hosts.sh`.
    pub fn start_on_hosts(&self, hosts: usize, ranks: usize, environment: &[(&str, &str)]) -> Job {
        let mpi = if library().contains("Open MPI") { "openmpi" } else { "mpich" };
        let mut command =
            Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/processes/hosts.sh"));
        command.args([mpi, &mpirun(), &hosts.to_string(), &ranks.to_string()]);
        self.start_command(command, environment)
    }

    pub fn start_command(&self, mut command: Command, environment: &[(&str, &str)]) -> Job {
        let folder = tempfile::tempdir().expect("a folder");
        let said = File::create(folder.path().join("said")).expect("a file");
        command
            .arg(std::env::current_exe().expect("this test"))
            .args([PLAY, self.name])
            .arg(folder.path())
            // Open MPI wants to be asked twice before it runs as root or on few cores.
            .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
            .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
            .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
            .env("HOSTS_CUT", folder.path().join("cut"))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("the file"))
            .stderr(said);
        let mpirun = command.spawn().expect("mpirun");
        Job { mpirun, folder, start: Instant::now() }
    }
}

impl Job {
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits for it, but not longer than [`LIMIT`].
    pub fn end(mut self) -> Ended {
        let status = loop {
            if let Some(status) = self.mpirun.try_wait().expect("a child") {
                break Some(status);
            }
            if self.start.elapsed() > LIMIT {
                break None;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let said = fs::read(self.folder().join("said")).expect("a file");
        let said = String::from_utf8_lossy(&said).into_owned();
        let Some(status) = status else {
            self.mpirun.kill().expect("it runs");
            self.mpirun.wait().expect("it ends");
            panic!("it did not end within {LIMIT:?}; it said: {said}");
        };
        Ended { status, said, after: self.start.elapsed(), folder: self.folder }
    }

    /// The system's number of a rank's process, once it has started.
    pub fn process(&self, rank: usize) -> u32 {
        let file = self.folder().join(format!("process {rank}"));
        let read = || fs::read_to_string(&file).ok()?.parse().ok();
        until(&format!("rank {rank} has started"), read)
    }

    /// `kill -SIGNAL` to a rank.
    pub fn signal(&self, signal: &str, rank: usize) {
        let process = self.process(rank).to_string();
        let status = Command::new("kill").args([signal, &process]).status().expect("kill");
        assert!(status.success());
    }

    /// Waits until a rank has made this file.
    pub fn wait_for(&self, file: &str) {
        let path = self.folder().join(file);
        until(file, || path.exists().then_some(()));
    }
}

impl Ended {
    pub fn well(&self) {
        assert!(self.status.success(), "{} after {:?}: {}", self.status, self.after, self.said);
    }

    /// Not well, soon, and it says why.
    pub fn badly(&self, within: Duration, says: &[&str]) {
        assert!(!self.status.success(), "it ended well: {}", self.said);
        assert!(self.after < within, "it ended after {:?}: {}", self.after, self.said);
        for part in says {
            assert!(self.said.contains(part), "expected `{part}`, found: {}", self.said);
        }
    }

    #[allow(dead_code)]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn until<T>(what: &str, mut happens: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = happens() {
            return value;
        }
        assert!(start.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
