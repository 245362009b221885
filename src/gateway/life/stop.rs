//! How the gateway ends, step by step.
//!
//! 1. Its listeners are closed, so that whoever comes from now on comes to the next process, or to nobody.
//! 2. Whoever has come already is served: requests that are under way are answered, and tunnels go on.
//! 3. That lasts until all of them have ended, the time for it is over, or a second order says at once.
//! 4. What is left then is ended.
//!
//! As long as there is something to write into the audit log, its file is opened anew when that is asked for.

use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::sleep;

use crate::failure::Failure;
use crate::gateway::carry::relay::Relays;
use crate::gateway::carry::session::Ending;
use crate::gateway::front::accept::Doors;
use crate::gateway::life::hand_over::Heir;
use crate::gateway::life::orders::Order;
use crate::gateway::life::service_manager::ServiceManager;
use crate::gateway::watch::records::Records;

/// What there is to end.
pub(crate) struct Closing<'a> {
    pub(crate) doors: &'a Doors,
    pub(crate) relays: &'a Relays,
    pub(crate) orders: &'a mut Receiver<Order>,
    pub(crate) records: &'a Records,
}

impl Closing<'_> {
    /// After an order to stop: tunnels have `limit` to finish.
    pub(crate) async fn stop(mut self, limit: Duration, service_manager: &ServiceManager) {
        self.doors.close().await;
        service_manager.stopping(self.relays.count(), limit);
        self.drain(limit).await;
        self.end().await;
    }

    /// After a new process, `heir`, has taken this one's place: nobody waits for the tunnels here, so they last as long
    /// as they do, unless this process is told to stop as well.
    pub(crate) async fn leave(mut self, mut heir: Heir, limit: Duration) {
        self.doors.close().await;
        let (id, own) = (heir.id.as_raw_pid(), std::process::id());
        self.say(&format!("handed over to process {id}; process {own} stays for {}", self.tunnels()));
        let notices = &self.doors.notices;
        let watch = async {
            let status = heir.fails().await;
            let failure = Failure::new("nobody serves new clients any more")
                .cause(format!("process {id}, which had taken over, has ended ({status})"));
            notices.fault(
                &failure.hint("start the gateway again; under systemd: `systemctl restart kohakuriver-gateway`"),
            );
            std::future::pending().await
        };
        let stop = tokio::select! {
            biased;
            () = idle(self.doors, self.relays) => false,
            () = told_to_stop(self.orders, self.records) => true,
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
            () = idle(self.doors, self.relays) => {}
            () = told_to_stop(self.orders, self.records) => {}
            () = sleep(limit) => {}
        }
    }

    async fn end(self) {
        let left = self.tunnels();
        self.doors.end().await;
        self.relays.end_all(Ending::Stopped);
        self.relays.none().await;
        self.say(&format!("stopped, with {left} still open"));
    }

    fn say(&self, line: &str) {
        self.doors.notices.say(line);
    }

    fn tunnels(&self) -> String {
        match self.relays.count() {
            1 => "1 tunnel".to_owned(),
            count => format!("{count} tunnels"),
        }
    }
}

/// Waits until nobody is served any more. The requests come first, since each may become a tunnel.
async fn idle(doors: &Doors, relays: &Relays) {
    doors.empty().await;
    relays.none().await;
}

/// Waits for an order to stop. Whoever gives orders may be gone, and then none comes.
async fn told_to_stop(orders: &mut Receiver<Order>, records: &Records) {
    loop {
        match orders.recv().await {
            Some(Order::Stop) => return,
            // Tunnels can last for days, and no rule concerns them any more; but their ends are still to be noted.
            Some(Order::Reload) => records.reopen(),
            Some(Order::HandOver) => {}
            None => std::future::pending().await,
        }
    }
}
