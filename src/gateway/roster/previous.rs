//! The previous processes, which stay as long as they have tunnels. Those tunnels are listed and ended through the
//! process that serves now.
//!
//! ```text
//!  this process: "4712-1 sessions\n" ──▶  a previous one: "4712-1 [{"id":7,…}]\n"
//!                "4712-2 end 7\n"    ──▶                  "4712-2 true\n"
//!        "4712-3 end-by-user 7\n"    ──▶                  "4712-3 true\n"
//! ```
//! Each previous process has a line of its own to the process that serves. The line is passed on with each hand-over. A
//! question has a mark, so that a late answer isn't taken for the answer to another question.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::gateway::carry::session::{EndTunnel, Sessions};
use crate::gateway::watch::session_list;
use crate::gateway::words::session::EndedBy;
use crate::sys::{self, AsFd, OwnedFd};

/// How long a previous process has for an answer. One that hangs must not hide the others.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Longest question, in bytes.
const LONGEST_QUESTION: u64 = 128;
/// Longest answer, in bytes: tens of thousands of tunnels.
const LONGEST_ANSWER: u64 = 16 * 1024 * 1024;

/// The previous processes that still run.
#[derive(Default)]
pub(crate) struct PreviousProcesses {
    /// None of their tunnels has a higher id.
    pub(crate) last_id: u64,
    lines: Vec<Arc<Mutex<Option<Line>>>>,
    /// The sockets of `lines`, for the successor of this process.
    pub(crate) sockets: Vec<OwnedFd>,
}

/// The line to one process.
struct Line {
    stream: BufReader<tokio::net::UnixStream>,
    asked: u64,
    /// The part of an answer that has arrived.
    answer: Vec<u8>,
}

impl PreviousProcesses {
    /// The processes at the other ends of `lines`, the oldest first.
    ///
    /// # Errors
    /// When a line can't be used, or no descriptor is left.
    pub(crate) fn new(last_id: u64, lines: Vec<OwnedFd>) -> io::Result<Self> {
        let mut previous = Self { last_id, ..Self::default() };
        for line in lines {
            if sys::peek(line.as_fd(), &mut [0]).is_ok_and(|bytes| bytes == 0) {
                // The process has exited since.
                continue;
            }
            previous.sockets.push(line.try_clone()?);
            let stream = UnixStream::from(line);
            stream.set_nonblocking(true)?;
            let stream = BufReader::new(tokio::net::UnixStream::from_std(stream)?);
            previous.lines.push(Arc::new(Mutex::new(Some(Line { stream, asked: 0, answer: Vec::new() }))));
        }
        Ok(previous)
    }

    /// Their tunnels, one JSON array per process.
    pub(crate) async fn sessions(&self) -> Vec<String> {
        self.ask("sessions".to_owned()).await
    }

    /// How many tunnels they have, in all.
    pub(crate) async fn count(&self) -> u64 {
        self.counts().await.iter().sum()
    }

    /// How many tunnels each of them has that answers in time, the oldest first.
    pub(crate) async fn counts(&self) -> Vec<u64> {
        self.ask("count".to_owned()).await.iter().filter_map(|count| count.parse().ok()).collect()
    }

    /// Ends the tunnel with this id. Returns whether one of them had it.
    pub(crate) async fn end(&self, id: u64, by: EndedBy) -> bool {
        let is_ended = |answers: &[String]| answers.iter().any(|answer| answer == "true");
        if by == EndedBy::User {
            let answers = self.ask(format!("end-by-user {id}")).await;
            // A process of an older version has an empty answer to a question that it doesn't know.
            if is_ended(&answers) || !answers.iter().any(String::is_empty) {
                return is_ended(&answers);
            }
        }
        is_ended(&self.ask(format!("end {id}")).await)
    }

    /// The answers that arrive in time.
    async fn ask(&self, question: String) -> Vec<String> {
        let ask = |line: &Arc<Mutex<Option<Line>>>| {
            let (line, question) = (Arc::clone(line), question.clone());
            tokio::spawn(timeout(ANSWER_LIMIT, async move {
                let mut line = line.lock().await;
                let answer = line.as_mut()?.ask(&question).await.ok();
                if answer.is_none() {
                    *line = None;
                }
                answer
            }))
        };
        let asked: Vec<_> = self.lines.iter().map(ask).collect();
        let mut answers = Vec::new();
        for one in asked {
            if let Ok(Ok(Some(answer))) = one.await {
                answers.push(answer);
            }
        }
        answers
    }
}

impl Line {
    async fn ask(&mut self, question: &str) -> io::Result<String> {
        self.asked += 1;
        let mark = format!("{}-{} ", std::process::id(), self.asked);
        self.stream.write_all(format!("{mark}{question}\n").as_bytes()).await?;
        loop {
            let left = LONGEST_ANSWER.saturating_sub(self.answer.len() as u64);
            (&mut self.stream).take(left).read_until(b'\n', &mut self.answer).await?;
            if self.answer.pop() != Some(b'\n') {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let answer = String::from_utf8(std::mem::take(&mut self.answer)).map_err(io::Error::other)?;
            if let Some(answer) = answer.strip_prefix(&mark) {
                return Ok(answer.to_owned());
            }
        }
    }
}

/// Answers the process that serves now, until that exits or this process is `over`. Whoever ends the last tunnel still
/// gets an answer.
pub(crate) async fn answer(line: UnixStream, open: Arc<Sessions>, end: EndTunnel, over: CancellationToken) {
    // Without a line there are no questions.
    let Ok(()) = line.set_nonblocking(true) else { return };
    let Ok(stream) = tokio::net::UnixStream::from_std(line) else { return };
    let mut stream = BufReader::new(stream);
    loop {
        let mut question = String::new();
        let read = tokio::select! {
            biased;
            read = async { (&mut stream).take(LONGEST_QUESTION).read_line(&mut question).await } => read,
            () = over.cancelled() => return,
        };
        let Some((mark, question)) = question.trim_end().split_once(' ').filter(|_| read.is_ok()) else { return };
        let answer = match question.split_once(' ') {
            Some(("end", id)) => id.parse().is_ok_and(|id| end(id, EndedBy::Admin)).to_string(),
            Some(("end-by-user", id)) => id.parse().is_ok_and(|id| end(id, EndedBy::User)).to_string(),
            None if question == "sessions" => session_list::list(&open.snapshot()),
            None if question == "count" => open.snapshot().len().to_string(),
            _ => String::new(),
        };
        // The process that asks may hang as well.
        let answer = format!("{mark} {answer}\n");
        if !matches!(timeout(ANSWER_LIMIT, stream.write_all(answer.as_bytes())).await, Ok(Ok(()))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::carry::session::tests::tunnel;
    use crate::gateway::words::session::Ending;

    /// A previous process, and its tunnels.
    fn process(last_id: u64) -> (OwnedFd, Arc<Sessions>) {
        let (here, there) = UnixStream::pair().unwrap();
        let sessions = Arc::new(Sessions::new(last_id, Default::default()));
        let open = Arc::clone(&sessions);
        let end: EndTunnel = Arc::new(move |id, by| open.ask_to_end(id, by));
        tokio::spawn(answer(there, Arc::clone(&sessions), end, CancellationToken::new()));
        (here.into(), sessions)
    }

    #[tokio::test]
    async fn each_process_is_asked_and_the_right_one_ends_a_tunnel() {
        let ((first, of_first), (second, of_second)) = (process(0), process(10));
        let _open = (tunnel(&of_first, Some("alice")), tunnel(&of_second, None), tunnel(&of_second, None));
        let previous = PreviousProcesses::new(99, vec![first, second]).unwrap();
        assert_eq!((previous.last_id, previous.sockets.len(), previous.count().await), (99, 2, 3));
        let listed = previous.sessions().await;
        assert!(
            listed[0].starts_with("[{\"id\":1,\"user\":\"alice\",") && listed[1].contains("\"id\":12,"),
            "{listed:?}"
        );
        assert!(previous.end(12, EndedBy::Admin).await && !previous.end(13, EndedBy::Admin).await);
        let asked = |sessions: &Sessions, at: usize| sessions.snapshot()[at].asked_to_end();
        assert_eq!((asked(&of_second, 1), asked(&of_second, 0)), (Some(Ending::Ended), None));
        assert!(previous.end(1, EndedBy::User).await && !previous.end(2, EndedBy::User).await);
        assert_eq!(asked(&of_first, 0), Some(Ending::EndedByUser));
        assert_eq!(PreviousProcesses::default().count().await, 0);
    }

    #[tokio::test]
    async fn a_process_of_an_older_version_ends_a_tunnel_for_its_user() {
        let (here, there) = UnixStream::pair().unwrap();
        there.set_nonblocking(true).unwrap();
        let mut there = BufReader::new(tokio::net::UnixStream::from_std(there).unwrap());
        let older = tokio::spawn(async move {
            for (verb, answer) in [("end-by-user 7", ""), ("end 7", "true")] {
                let mut question = String::new();
                there.read_line(&mut question).await.unwrap();
                let (mark, asked) = question.trim_end().split_once(' ').unwrap();
                assert_eq!(asked, verb);
                there.write_all(format!("{mark} {answer}\n").as_bytes()).await.unwrap();
            }
        });
        let previous = PreviousProcesses::new(9, vec![here.into()]).unwrap();
        assert!(previous.end(7, EndedBy::User).await);
        older.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_hangs_or_exits_hides_no_other() {
        let (hangs, mut far) = UnixStream::pair().unwrap();
        let (ended, _) = UnixStream::pair().unwrap();
        let ((good, sessions), (gone, other)) = (process(0), UnixStream::pair().unwrap());
        let _open = tunnel(&sessions, None);
        let previous = PreviousProcesses::new(0, vec![hangs.into(), ended.into(), gone.into(), good]).unwrap();
        assert_eq!(previous.sockets.len(), 3, "one has exited before");
        drop(other);
        assert_eq!(previous.count().await, 1);
        // The late answer to the first question isn't taken for the answer to the next one.
        let mut question = [0; LONGEST_QUESTION as usize];
        let read = io::Read::read(&mut far, &mut question).unwrap();
        let mark = String::from_utf8_lossy(&question[..read]).split_once(' ').unwrap().0.to_owned();
        io::Write::write_all(&mut far, format!("{mark} 7\n").as_bytes()).unwrap();
        assert_eq!(previous.count().await, 1);
    }
}
