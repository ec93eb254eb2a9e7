//! Tests that may take their process with them: each runs in a process of its own.

use std::env;
use std::io::Read;
use std::process::{Child, Command, Stdio, exit};
use std::thread;
use std::time::{Duration, Instant};

/// Is set to the name of the test in the process of a child.
const CHILD: &str = "TEST_IN_A_CHILD";

/// How long a child may take.
const LIMIT: Duration = Duration::from_secs(120);

/// The code of a child that ends where it is meant to.
const ENDED: i32 = 7;

/// Ends the process of a child, where it is meant to end.
pub(crate) fn end() -> ! {
    exit(ENDED)
}

/// Runs `body` of the test `name` in a child, and fails unless it comes to [`end`].
pub(crate) fn ends(name: &str, body: impl FnOnce()) {
    if env::var_os(CHILD).is_some_and(|child| child == name) {
        return body();
    }
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    let mut errors = child.stderr.take().unwrap();
    let told = thread::spawn(move || {
        let mut text = Vec::new();
        let read = errors.read_to_end(&mut text);
        read.map(|_| String::from_utf8_lossy(&text).into_owned())
    });
    let ended = wait(&mut child);
    let told = told.join().unwrap().unwrap();
    assert_eq!(ended, Ok(Some(ENDED)), "the child said:\n{told}");
}

/// The code that a child ends with, `None` if it was killed by a signal.
fn wait(child: &mut Child) -> Result<Option<i32>, &'static str> {
    let begin = Instant::now();
    while begin.elapsed() < LIMIT {
        if let Some(status) = child.try_wait().unwrap() {
            return Ok(status.code());
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    Err("it hangs")
}
