//! A server that this program starts: its lines with the moment each arrived, and its end.
//!
//! It runs in a process group of its own, and a guard (a shell that waits for this program's
//! end of a pipe) ends that group if this program dies in whatever way, Ctrl-C and SIGKILL
//! included. So nothing holds a GPU after a measurement that went wrong.

use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

/// How long a server has to end after SIGTERM.
pub const GRACE: Duration = Duration::from_secs(15);

/// What the guard does once the pipe at its stdin closes.
const GUARD: &str = "read -r _; kill -TERM -\"$1\" || exit 0; i=0; \
    while kill -0 -\"$1\" && [ $i -lt 15 ]; do sleep 1; i=$((i+1)); done; kill -KILL -\"$1\"";

/// A line of a server's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When its end arrived, since the process began.
    pub at: Duration,
    /// The line, without its end.
    pub text: String,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    guard: Child,
    began: Instant,
    lines: Arc<Mutex<Vec<Line>>>,
    readers: Vec<std::thread::JoinHandle<()>>,
    grace: Duration,
    over: bool,
}

impl Server {
    /// Has the shell run a command. When it is to end, it has `grace` to do so by itself.
    ///
    /// # Errors
    /// The system's. A command that is not there is found out by its end and its lines.
    pub fn start(command: &str, grace: Duration) -> io::Result<Self> {
        let began = Instant::now();
        let mut child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard", &child.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let guard = match guard {
            Ok(guard) => guard,
            Err(error) => {
                signal(&child, Signal::KILL);
                let _ = child.wait();
                return Err(error);
            }
        };
        let lines = Arc::new(Mutex::new(Vec::new()));
        let out = child.stdout.take().map(|pipe| collect(pipe, began, lines.clone()));
        let err = child.stderr.take().map(|pipe| collect(pipe, began, lines.clone()));
        let readers = out.into_iter().chain(err).collect();
        Ok(Self { child, guard, began, lines, readers, grace, over: false })
    }

    /// When it began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// What it wrote so far, in order of arrival.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.lock().expect("no thread panics with the lines").clone()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Ends it: SIGTERM to the whole group, and SIGKILL to what is left after the grace. Its lines.
    pub fn stop(mut self) -> Vec<Line> {
        self.end();
        // Whoever left the group may hold the pipes open for ever: what is there is enough.
        let deadline = Instant::now() + Duration::from_secs(2);
        while self.readers.iter().any(|reader| !reader.is_finished()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.lines()
    }

    fn end(&mut self) {
        // Its number may be another's by the second time.
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        signal(&self.child, Signal::TERM);
        let deadline = Instant::now() + self.grace;
        while self.is_alive() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        signal(&self.child, Signal::KILL);
        let _ = self.child.wait();
        let _ = self.guard.kill();
        let _ = self.guard.wait();
    }

    /// Whether the command or anything it started in its group still runs.
    fn is_alive(&mut self) -> bool {
        self.ended().is_none() || group(&self.child).is_some_and(|id| test_kill_process_group(id).is_ok())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn group(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// Sends a signal to the whole group. That it may be gone already is no fault.
fn signal(child: &Child, signal: Signal) {
    if let Some(id) = group(child) {
        let _ = kill_process_group(id, signal);
    }
}

/// How a process ended, in words.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with exit code {code}"),
        (None, Some(signal)) => format!("signal {signal} ended it"),
        (None, None) => "it ended".to_owned(),
    }
}

/// Reads a pipe to its end, in lines. Progress bars end theirs with a carriage return.
fn collect(
    mut pipe: impl Read + Send + 'static,
    began: Instant,
    lines: Arc<Mutex<Vec<Line>>>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let (mut line, mut buffer) = (Vec::new(), [0; 16 << 10]);
        let push = |line: &mut Vec<u8>| {
            if !line.is_empty() {
                let text = String::from_utf8_lossy(line).into_owned();
                lines
                    .lock()
                    .expect("no thread panics with the lines")
                    .push(Line { at: began.elapsed(), text });
                line.clear();
            }
        };
        while let Ok(read @ 1..) = pipe.read(&mut buffer) {
            for &byte in &buffer[..read] {
                match byte {
                    b'\r' | b'\n' => push(&mut line),
                    _ => {
                        // A line without end is cut, and nothing is lost.
                        if line.len() == 1 << 20 {
                            push(&mut line);
                        }
                        line.push(byte);
                    }
                }
            }
        }
        push(&mut line);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(server: &mut Server) -> ExitStatus {
        loop {
            if let Some(status) = server.ended() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn lines_end_at_both_kinds_of_ends_and_carry_their_time() {
        let mut server =
            Server::start("printf 'a\\rb\\r\\nc\\n'; sleep 0.2; printf d >&2; exit 3", GRACE).unwrap();
        assert_eq!(describe(wait(&mut server)), "it ended with exit code 3");
        let lines = server.stop();
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["a", "b", "c", "d"]);
        assert!(lines[3].at > lines[2].at + Duration::from_millis(100), "{lines:?}");
    }

    #[test]
    fn the_whole_group_ends_even_if_it_does_not_want_to() {
        let command = "(trap '' TERM; sleep 100; sleep 100) & sleep 100 & wait";
        let mut server = Server::start(command, Duration::from_millis(200)).unwrap();
        let id = group(&server.child).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        signal(&server.child, Signal::TERM);
        let status = wait(&mut server);
        assert_eq!(describe(status), format!("signal {} ended it", Signal::TERM.as_raw()));
        assert_eq!(test_kill_process_group(id), Ok(()), "the stubborn one is still there");
        let began = Instant::now();
        server.stop();
        assert!(began.elapsed() >= Duration::from_millis(200));
        let deadline = Instant::now() + Duration::from_secs(5);
        while is_running(id) {
            assert!(Instant::now() < deadline, "something of the group is left");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether a process of the group is left that is no zombie: nobody may be there to reap those.
    fn is_running(group: Pid) -> bool {
        let stats = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path().join("stat")).ok());
        let group = group.as_raw_nonzero().to_string();
        stats.into_iter().any(|stat| {
            // pid (name) state parent group ..: the name may hold anything, its bracket is the last.
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
            fields[0] != "Z" && fields[2] == group
        })
    }

    #[test]
    fn the_guard_ends_the_group_when_its_pipe_closes() {
        let mut server = Server::start("sleep 100", GRACE).unwrap();
        drop(server.guard.stdin.take());
        let status = wait(&mut server);
        assert_eq!(status.signal(), Some(Signal::TERM.as_raw()), "{status}");
    }
}
