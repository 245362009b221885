//! The shutdown, step by step.
//!
//! 1. The listeners close. New clients reach the successor, or nothing.
//! 2. Accepted clients are served: requests under way are answered, and tunnels stay open.
//! 3. That ends when all of them have ended, at the time limit, or at a second order to stop.
//! 4. What is left is ended.
//!
//! As long as audit lines may be written, an order to reload opens the audit log's file again.

use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::sleep;

use crate::failure::Failure;
use crate::gateway::carry::relay::Relays;
use crate::gateway::front::accept::AcceptLoops;
use crate::gateway::life::hand_over::Successor;
use crate::gateway::life::orders::Order;
use crate::gateway::life::service_manager::ServiceManager;
use crate::gateway::watch::records::Records;
use crate::gateway::words::session::Ending;

/// Everything that shutdown has to close.
pub(crate) struct Shutdown<'a> {
    pub(crate) accept: &'a AcceptLoops,
    pub(crate) relays: &'a Relays,
    pub(crate) orders: &'a mut Receiver<Order>,
    pub(crate) records: &'a Records,
}

impl Shutdown<'_> {
    /// Shuts down after an order to stop. Tunnels have `limit` to finish.
    pub(crate) async fn stop(mut self, limit: Duration, service_manager: &ServiceManager) {
        self.accept.close().await;
        service_manager.stopping(self.relays.count(), limit);
        self.drain(limit).await;
        self.end().await;
    }

    /// Shuts down after a hand-over to `successor`. Nothing waits for this process, so its tunnels may last as long as
    /// they like, unless it gets an order to stop as well.
    pub(crate) async fn leave(mut self, mut successor: Successor, limit: Duration) {
        self.accept.close().await;
        let (id, own) = (successor.id, std::process::id());
        self.say(&format!("handed over to process {id}; process {own} stays for {}", self.tunnels()));
        let notices = &self.records.notices;
        let watch = async {
            let status = successor.fails().await;
            let failure = Failure::new("nobody serves new clients any more")
                .cause(format!("process {id}, which had taken over, has ended ({status})"));
            notices.fault(
                &failure.hint("start the gateway again; under systemd: `systemctl restart kohakuriver-gateway`"),
            );
            std::future::pending().await
        };
        let stop = tokio::select! {
            biased;
            () = idle(self.accept, self.relays) => false,
            () = stop_ordered(self.orders, self.records) => true,
            stop = watch => stop,
        };
        if stop {
            self.drain(limit).await;
        }
        self.end().await;
    }

    async fn drain(&mut self, limit: Duration) {
        self.say(&format!("stopping; waiting up to {} s for {}", limit.as_secs(), self.tunnels()));
        tokio::select! {
            biased;
            () = idle(self.accept, self.relays) => {}
            () = stop_ordered(self.orders, self.records) => {}
            () = sleep(limit) => {}
        }
    }

    async fn end(self) {
        let left = self.tunnels();
        self.accept.end().await;
        self.relays.end_all(Ending::Stopped);
        self.relays.none().await;
        self.say(&format!("stopped, with {left} still open"));
    }

    fn say(&self, line: &str) {
        self.records.notices.say(line);
    }

    fn tunnels(&self) -> String {
        match self.relays.count() {
            1 => "1 tunnel".to_owned(),
            count => format!("{count} tunnels"),
        }
    }
}

/// Waits until no client is served any more. Requests come first, since each may become a tunnel.
async fn idle(accept: &AcceptLoops, relays: &Relays) {
    accept.idle().await;
    relays.none().await;
}

/// Waits for an order to stop. Never returns when no more orders can come.
async fn stop_ordered(orders: &mut Receiver<Order>, records: &Records) {
    loop {
        match orders.recv().await {
            Some(Order::Stop) => return,
            // Tunnels can last for days, and their ends are still audited. No rule concerns them any more.
            Some(Order::Reload) => records.reopen(),
            Some(Order::HandOver) => {}
            None => std::future::pending().await,
        }
    }
}
