//! One connection per gateway, opened when it is needed and again after it ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::{Connection, Device, Hello, Target, UNREACHABLE};
use crate::clock::Clock;
use crate::error::Result;
use crate::outgoing::Outgoing;

/// The connection of one gateway, if there is one.
type Slot = Arc<Mutex<Option<(Target, Arc<Connection>)>>>;

/// Time for a gateway to close its connections once the delay of its restart is over.
const CLOSES: Duration = Duration::from_secs(5);
/// Time for a gateway to accept connections after a restart; 2026.4.2 takes 4 to 15 seconds.
const RESTART: Duration = Duration::from_secs(45);
/// Pause between attempts to connect to a gateway that restarts.
const RETRY: Duration = Duration::from_millis(500);

/// Connections by gateway.
#[derive(Debug, Default)]
pub struct Pool {
    slots: Mutex<HashMap<String, Slot>>,
}

impl Pool {
    /// Returns the connection of a gateway, which is opened when there is none to this target.
    ///
    /// # Errors
    /// Those of [`Connection::open`].
    pub async fn get(
        &self,
        (outgoing, clock): (&Outgoing, &Clock),
        device: &Device,
        id: &str,
        target: &Target,
    ) -> Result<Arc<Connection>> {
        let slot = {
            let mut slots = self.slots.lock().await;
            Arc::clone(slots.entry(id.to_owned()).or_default())
        };
        // Held while connecting, so that concurrent calls share the connection.
        let mut slot = slot.lock().await;
        if let Some((known, connection)) = &*slot
            && known == target
            && !connection.is_closed()
        {
            return Ok(Arc::clone(connection));
        }
        *slot = None;
        let opened = Arc::new(Connection::open(outgoing, clock, device, target).await?);
        *slot = Some((target.clone(), Arc::clone(&opened)));
        Ok(opened)
    }

    /// Calls a method of a gateway. A call whose connection ends before the answer is repeated on a new one for up to [`RESTART`]: the gateway may be restarting.
    ///
    /// # Errors
    /// Those of [`Connection::open`] and [`Connection::call`].
    pub async fn call(
        &self,
        with: (&Outgoing, &Clock),
        device: &Device,
        (id, target): (&str, &Target),
        (method, params, limit): (&str, Value, Duration),
    ) -> Result<Value> {
        let deadline = Instant::now() + RESTART;
        let mut connection = self.get(with, device, id, target).await?;
        loop {
            match connection.call(method, params.clone(), limit).await {
                Err(error)
                    if error.code() == UNREACHABLE
                        && connection.is_closed()
                        && is_repeatable(method)
                        && Instant::now() < deadline =>
                {
                    connection = self.reopen(with, device, (id, target), deadline).await?;
                }
                answer => return answer,
            }
        }
    }

    /// Waits until a gateway that announced its restart has restarted, and connects to it again. Older gateways restart to apply a new configuration; what is
    /// called meanwhile is lost.
    ///
    /// # Errors
    /// Those of [`Connection::open`], after [`RESTART`].
    pub async fn after_restart(
        &self,
        with: (&Outgoing, &Clock),
        device: &Device,
        (id, target): (&str, &Target),
        delay: Duration,
    ) -> Result<()> {
        // A gateway that does not restart after all goes on with the connection that there is.
        if let Some(connection) = self.kept(id).await
            && timeout(delay + CLOSES, connection.closed()).await.is_err()
        {
            return Ok(());
        }
        let deadline = Instant::now() + RESTART;
        self.reopen(with, device, (id, target), deadline).await?;
        Ok(())
    }

    /// Connects to a gateway that may be restarting.
    ///
    /// # Errors
    /// Those of [`Connection::open`], after the deadline.
    async fn reopen(
        &self,
        with: (&Outgoing, &Clock),
        device: &Device,
        (id, target): (&str, &Target),
        deadline: Instant,
    ) -> Result<Arc<Connection>> {
        loop {
            sleep(RETRY).await;
            match self.get(with, device, id, target).await {
                Err(error) if error.code() == UNREACHABLE && Instant::now() < deadline => {}
                opened => return opened,
            }
        }
    }

    /// Returns the connection of a gateway that was opened last; it may have ended.
    async fn kept(&self, id: &str) -> Option<Arc<Connection>> {
        let slot = Arc::clone(self.slots.lock().await.get(id)?);
        let slot = slot.lock().await;
        slot.as_ref().map(|(_, connection)| Arc::clone(connection))
    }

    /// Returns the offer of a gateway in its last handshake.
    pub async fn hello(&self, id: &str) -> Option<Hello> {
        Some(self.kept(id).await?.hello.clone())
    }

    /// Closes the connection of a gateway.
    pub async fn forget(&self, id: &str) {
        self.slots.lock().await.remove(id);
    }
}

/// Returns whether a call may be made twice: all but messages, which have an idempotency key of their own.
fn is_repeatable(method: &str) -> bool {
    method != "chat.send"
}
