//! A mail server with one mailbox that speaks as much IMAP as a reader needs (RFC 3501).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Password of the only user, `ada`.
pub const PASSWORD: &str = "s3cret \"quoted\"";

#[derive(Default)]
struct State {
    validity: u32,
    /// Mails of the folder `INBOX` by their numbers.
    mails: BTreeMap<u32, String>,
    /// Commands without their tags.
    commands: Vec<String>,
    trouble: Option<Trouble>,
}

/// What a server does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Sends mails without end.
    Endless,
    /// Refuses to tell sizes, once per connection.
    Refuses,
    /// Closes the connection when it is asked for sizes.
    Closes,
}

/// A server on a free port of this machine.
pub struct MailServer {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl MailServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State {
            validity: 1,
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(speak(stream, Arc::clone(&shared)));
            }
        });
        Self { port, state }
    }

    pub fn put(&self, uid: u32, subject: &str, text: &str) {
        let mail = format!(
            "From: Ada <ada@example.org>\r\nSubject: {subject}\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\n\r\n{text}\r\n"
        );
        self.state.lock().expect("no panic").mails.insert(uid, mail);
    }

    pub fn remove(&self, uid: u32) {
        self.state.lock().expect("no panic").mails.remove(&uid);
    }

    /// Numbers the mails anew, as a restored server does.
    pub fn renumber(&self) {
        self.state.lock().expect("no panic").validity += 1;
    }

    /// Does something wrong from now on.
    pub fn have(&self, trouble: Trouble) {
        self.state.lock().expect("no panic").trouble = Some(trouble);
    }

    /// Commands since the last time.
    pub fn commands(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().expect("no panic").commands)
    }
}

/// Speaks with a client until it is gone.
async fn speak(stream: TcpStream, state: Arc<Mutex<State>>) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    if write.write_all(b"* OK ready\r\n").await.is_err() {
        return;
    }
    while let Ok(Some(line)) = lines.next_line().await {
        let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
        let (answer, endless) = {
            let mut state = state.lock().expect("no panic");
            state.commands.push(command.to_owned());
            let asks_sizes = command.contains("RFC822.SIZE");
            let endless = state.trouble == Some(Trouble::Endless) && command.contains("BODY.PEEK");
            match state.trouble {
                Some(Trouble::Closes) if asks_sizes => return,
                Some(Trouble::Refuses) if asks_sizes => (format!("{tag} NO not now\r\n"), false),
                _ => (reply(&state, tag, command), endless),
            }
        };
        if write.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        if endless {
            while write.write_all(&[b'x'; 1 << 16]).await.is_ok() {}
            return;
        }
    }
}

/// Returns the answer to a command.
fn reply(state: &State, tag: &str, command: &str) -> String {
    let quoted = PASSWORD.replace('"', "\\\"");
    let data = if let Some(rest) = command.strip_prefix("LOGIN ") {
        if rest != format!("\"ada\" \"{quoted}\"") {
            return format!("{tag} NO wrong user or password\r\n");
        }
        String::new()
    } else if let Some(folder) = command.strip_prefix("EXAMINE ") {
        if folder != "\"INBOX\"" {
            return format!("{tag} NO there is no such folder\r\n");
        }
        let (count, validity) = (state.mails.len(), state.validity);
        format!("* {count} EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY {validity}] numbered\r\n")
    } else if command.starts_with("UID SEARCH ") {
        let uids: String = state.mails.keys().map(|uid| format!(" {uid}")).collect();
        format!("* SEARCH{uids}\r\n")
    } else if let Some(rest) = command.strip_prefix("UID FETCH ") {
        let (set, wanted) = rest.split_once(' ').expect("a set and what is wanted");
        let wanted_uids: Vec<u32> = set
            .split(',')
            .map(|n| n.parse().expect("a number"))
            .collect();
        fetched(state, &wanted_uids, wanted.contains("BODY.PEEK[]"))
    } else {
        return format!("{tag} BAD unknown command\r\n");
    };
    format!("{data}{tag} OK done\r\n")
}

fn fetched(state: &State, uids: &[u32], with_body: bool) -> String {
    let mails = state.mails.iter().enumerate();
    let wanted = mails.filter(|(_, (uid, _))| uids.contains(uid));
    wanted
        .map(|(index, (uid, mail))| {
            let (number, size) = (index + 1, mail.len());
            if with_body {
                let endless = state.trouble == Some(Trouble::Endless);
                let size = if endless { 1 << 40 } else { size };
                format!("* {number} FETCH (UID {uid} BODY[] {{{size}}}\r\n{mail})\r\n")
            } else {
                format!("* {number} FETCH (UID {uid} RFC822.SIZE {size})\r\n")
            }
        })
        .collect()
}
