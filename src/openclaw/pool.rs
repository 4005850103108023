//! One connection per gateway, opened when it is needed and again after it ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Mutex;

use super::{Connection, Device, Hello, Target, UNREACHABLE};
use crate::clock::Clock;
use crate::error::Result;
use crate::outgoing::Outgoing;

/// The connection of one gateway, if there is one.
type Slot = Arc<Mutex<Option<(Target, Arc<Connection>)>>>;

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

    /// Calls a method of a gateway. A call whose connection had ended before is made once more on a new one.
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
        let connection = self.get(with, device, id, target).await?;
        match connection.call(method, params.clone(), limit).await {
            Err(error)
                if error.code() == UNREACHABLE
                    && connection.is_closed()
                    && is_repeatable(method) =>
            {
                let connection = self.get(with, device, id, target).await?;
                connection.call(method, params, limit).await
            }
            answer => answer,
        }
    }

    /// Returns what the last handshake of a gateway offered.
    pub async fn hello(&self, id: &str) -> Option<Hello> {
        let slot = Arc::clone(self.slots.lock().await.get(id)?);
        let slot = slot.lock().await;
        slot.as_ref()
            .map(|(_, connection)| connection.hello.clone())
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
