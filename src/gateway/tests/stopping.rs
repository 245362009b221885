//! The shutdown of the gateway, and orders to reload.

use super::*;

/// A drain timeout that no test uses up.
const LONG: Duration = Duration::from_secs(3600);

impl Running {
    async fn with_drain(host: &FakeHost, drain_timeout: Duration) -> Self {
        let terms = Terms { drain_timeout, ..terms() };
        Self::on(directory_of(&host.base), terms).await
    }

    /// A tunnel, up to the banner.
    async fn tunnel(&self) -> TcpStream {
        let mut tunnel = self.send(format!("REQUEST_TUNNEL {ID}\n").as_bytes()).await;
        banner(&mut tunnel).await;
        tunnel
    }

    async fn order(&self, order: Order) {
        timeout(PATIENCE, self.orders.send(order)).await.expect("nobody takes orders").unwrap();
    }

    /// Gives an order, and waits until it is carried out. In the single thread of a test that is so once it is received.
    async fn carried_out(&self, order: Order) {
        self.order(order).await;
        while self.orders.capacity() == 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until it stops, which it says when the listeners are closed. A connection is no proof: the port may be
    /// another program's by then.
    async fn closed(&self) {
        let closed = async {
            while !self.heard.messages().starts_with("stopping; ") {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, closed).await.expect("it still listens");
    }

    /// Waits until it has ended, and returns its messages.
    async fn ended(self) -> String {
        timeout(PATIENCE, self.served).await.expect("it does not stop").unwrap().unwrap();
        self.heard.messages()
    }
}

/// Waits for the end of a tunnel: an end of stream or a reset.
async fn ends(tunnel: &mut TcpStream) {
    let _ = timeout(PATIENCE, tunnel.read_to_end(&mut Vec::new())).await.expect("the tunnel stays open");
}

async fn echoes(tunnel: &mut TcpStream) {
    tunnel.write_all(b"still there").await.unwrap();
    let mut echo = [0; 11];
    timeout(PATIENCE, tunnel.read_exact(&mut echo)).await.unwrap().unwrap();
    assert_eq!(echo, *b"still there");
}

#[tokio::test]
async fn accepted_clients_are_served_to_their_end_and_no_new_ones() {
    let host = host(vps().await, json!({})).await;
    let gateway = Running::with_drain(&host, LONG).await;
    let mut early = gateway.tunnel().await;
    // In the middle of its request.
    let mut late = gateway.send(format!("REQUEST_TUNNEL {ID}").as_bytes()).await;
    // Its task is there once a connection after it has been served.
    drop(gateway.tunnel().await);
    gateway.order(Order::Stop).await;
    gateway.closed().await;
    late.write_all(b"\n").await.unwrap();
    banner(&mut late).await;
    for tunnel in [&mut late, &mut early] {
        echoes(tunnel).await;
        tunnel.shutdown().await.unwrap();
        assert_eq!(rest(tunnel).await, "");
    }
    let said = gateway.ended().await;
    assert!(
        said.contains("stopping; waiting up to 3600 s for ") && said.ends_with("stopped, with 0 tunnels still open\n"),
        "{said}"
    );
}

#[tokio::test]
async fn the_drain_timeout_ends_what_is_left() {
    for limit in [Duration::ZERO, Duration::from_millis(300)] {
        let host = host(vps().await, json!({})).await;
        let gateway = Running::with_drain(&host, limit).await;
        let mut tunnel = gateway.tunnel().await;
        // A request that never arrives delays nothing either.
        let mut mute = gateway.send(b"REQ").await;
        gateway.order(Order::Stop).await;
        ends(&mut tunnel).await;
        ends(&mut mute).await;
        let said = gateway.ended().await;
        assert!(said.ends_with("s for 1 tunnel\nstopped, with 1 tunnel still open\n"), "{said}");
    }
}

#[tokio::test]
async fn a_second_order_ends_it_at_once() {
    let host = host(vps().await, json!({})).await;
    let gateway = Running::with_drain(&host, LONG).await;
    let (mut one, mut other) = (gateway.tunnel().await, gateway.tunnel().await);
    gateway.order(Order::Stop).await;
    gateway.closed().await;
    // During the shutdown these orders have no effect on tunnels.
    gateway.order(Order::Reload).await;
    gateway.order(Order::HandOver).await;
    echoes(&mut one).await;
    gateway.order(Order::Stop).await;
    ends(&mut one).await;
    ends(&mut other).await;
    let said = gateway.ended().await;
    assert_eq!(said, "stopping; waiting up to 3600 s for 2 tunnels\nstopped, with 2 tunnels still open\n");
}

#[tokio::test]
async fn each_reload_reports_its_result() {
    let scene = Scene::new(json!({ "nodes": [], "vps": [] }));
    let gateway = Running::start(Directory::Inventory(Arc::clone(&scene.inventory)), 8).await;
    scene.write(json!({ "nodes": [], "vps": [{ "task_id": ID, "status": "stopped" }] }));
    gateway.carried_out(Order::Reload).await;
    // Each failure is reported, without a rate limit.
    for _ in 0..2 {
        scene.write("{ broken");
        gateway.carried_out(Order::Reload).await;
    }
    assert!(gateway.ask(&connect(&format!("{ID}:22"))).await.starts_with("HTTP/1.1 409 "));
    gateway.order(Order::Stop).await;
    let said = gateway.ended().await;
    assert!(said.starts_with("reloaded; the inventory has 1 VPSes\n"), "{said}");
    assert_eq!(said.matches("the inventory is refused; the last good one stays cause=").count(), 2, "{said}");
}
