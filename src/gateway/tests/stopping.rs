//! How the gateway ends, and what it takes up while it serves.

use super::*;

/// A time to finish that no test uses up.
const LONG: Duration = Duration::from_secs(3600);

impl Running {
    async fn with_drain(host: &FakeHost, drain_timeout: Duration) -> Self {
        let terms = Terms { max_tunnels: 8, drain_timeout, proxy_protocol: false };
        Self::on(Directory::Host(Client::new(&host.base, None).unwrap()), terms).await
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

    /// Gives an order, and waits until it is carried out; in the one thread of a test that is done once it is taken.
    async fn carried_out(&self, order: Order) {
        self.order(order).await;
        while self.orders.capacity() == 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until nobody listens any more.
    async fn closed(&self) {
        let closed = async {
            while TcpStream::connect(self.tunnels).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, closed).await.expect("it goes on listening");
    }

    /// Waits until it has ended: what it said.
    async fn ended(self) -> String {
        timeout(PATIENCE, self.served).await.expect("it does not stop").unwrap().unwrap();
        self.heard.text()
    }
}

async fn banner(tunnel: &mut TcpStream) {
    let mut start = [0; 22];
    timeout(PATIENCE, tunnel.read_exact(&mut start)).await.unwrap().unwrap();
    assert_eq!(start, *b"SUCCESS\nSSH-2.0-Fake\r\n");
}

/// The end of a tunnel that was ended: an end or a reset, but no silence.
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
async fn whoever_has_come_is_served_and_nobody_else() {
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
async fn the_time_to_finish_ends() {
    for limit in [Duration::ZERO, Duration::from_millis(300)] {
        let host = host(vps().await, json!({})).await;
        let gateway = Running::with_drain(&host, limit).await;
        let mut tunnel = gateway.tunnel().await;
        // Nor does a request that never comes hold anything up.
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
    // It has nothing to read again any more, and no place to hand over.
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
async fn a_reload_says_what_came_of_it() {
    let path = std::env::temp_dir().join(format!("kohakuriver-reload-{}.json", std::process::id()));
    std::fs::write(&path, r#"{ "nodes": [], "vps": [] }"#).unwrap();
    let inventory = Inventory::open(&path, Notices::to(Heard::default())).unwrap();
    let gateway = Running::start(Directory::Inventory(Arc::new(inventory)), 8).await;
    std::fs::write(&path, json!({ "nodes": [], "vps": [{ "task_id": ID, "status": "paused" }] }).to_string()).unwrap();
    gateway.carried_out(Order::Reload).await;
    // Each is told, however soon after another.
    for _ in 0..2 {
        std::fs::write(&path, "{ broken").unwrap();
        gateway.carried_out(Order::Reload).await;
    }
    assert!(gateway.ask(&connect(&format!("{ID}:22"))).await.starts_with("HTTP/1.1 409 "));
    gateway.order(Order::Stop).await;
    let said = gateway.ended().await;
    std::fs::remove_file(path).unwrap();
    assert!(said.starts_with("reloaded; the inventory has 1 VPSes\n"), "{said}");
    assert_eq!(said.matches("the inventory is refused; the last good one stays\n  caused by: ").count(), 2, "{said}");
}
