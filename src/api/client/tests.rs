use super::*;
use crate::api::fake_host::FakeHost;
use crate::api::{Audience, Case, Client, MAX_BODY, REQUEST_LIMIT, locate};
use serde_json::json;

const ID: &str = "7427000000000000001";

fn id() -> VpsRef {
    VpsRef::parse(ID).unwrap()
}

fn client(host: &FakeHost) -> Client {
    Client::new(&host.base, None).unwrap()
}

fn token(text: &str) -> Option<Token> {
    Some(Token::new(text).unwrap())
}

fn task(name: &str, status: &str) -> Value {
    json!({
        "task_id": ID, "task_type": "vps", "name": name, "status": status, "assigned_node": "node-up",
        "ssh_port": 22023, "vps_backend": "docker", "a_field_of_tomorrow": [1, 2]
    })
}

/// A VPS as in the lists: without a type.
fn listed(id: &str, name: &str, status: &str) -> Value {
    json!({ "task_id": id, "name": name, "status": status, "assigned_node": "node-up", "ssh_port": 22023 })
}

fn nodes() -> Value {
    json!([
        { "hostname": "node-up", "url": "http://127.0.0.1:8001", "status": "online", "cores_in_use": 1 },
        { "hostname": "node-down", "url": "http://127.0.0.1:9", "status": "offline", "cores_in_use": "N/A" },
    ])
}

fn refused<T: std::fmt::Debug>(result: Result<T, ApiError>) -> Refusal {
    match result {
        Err(ApiError::Refusal(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn todays_host() {
    let host = FakeHost::start().await;
    host.on(&format!("/api/status/{ID}"), 200, task("trainer", "running")).on("/api/nodes", 200, nodes());
    let client = client(&host);
    let vps = client.vps(&id()).await.unwrap();
    assert_eq!(
        (vps.is_vps, vps.ssh_port.number(), vps.json["a_field_of_tomorrow"][1].as_u64()),
        (true, Some(22023), Some(2))
    );
    let node = client.runner_of(&vps).await.unwrap();
    assert_eq!(locate(&vps, node.as_ref(), Audience::OPERATOR).unwrap().host, "127.0.0.1");
    host.on("/api/nodes", 200, json!([{ "hostname": "nope", "url": "http://127.0.0.1:8001", "status": "online" }]));
    assert_eq!(client.runner_of(&vps).await.unwrap(), None);
    assert_eq!(host.seen(), [&format!("/api/status/{ID}"), "/api/nodes", "/api/nodes"]);
}

#[tokio::test]
async fn the_older_generation_is_detected_and_remembered_and_an_upgrade_is_noticed() {
    let host = FakeHost::start().await;
    let bare = |id: &str, status: &str| json!({ "task_id": id, "status": status, "assigned_node": null });
    host.on(&format!("/status/{ID}"), 200, bare(ID, "running"))
        .on("/status/2", 200, bare("2", "killed"))
        .on("/status/3", 200, bare("3", "running"))
        .on("/status/4", 404, json!({ "detail": "Task id not found" }))
        .on("/vps/status", 200, json!([listed(ID, "", "running")]))
        .on(
            "/vps",
            200,
            json!([bare(ID, "running"), { "task_id": "2", "status": "killed", "assigned_node": "node-up" }]),
        )
        .on("/nodes", 200, nodes());
    let client = client(&host);

    let vps = client.vps(&id()).await.unwrap();
    assert_eq!((vps.is_vps, vps.ssh_port.number(), vps.node.as_deref()), (true, Some(22023), Some("node-up")));
    assert_eq!(host.seen(), [&format!("/api/status/{ID}"), &format!("/status/{ID}"), "/vps/status"]);

    let shared = client.with_token(token("t"));
    let ended = shared.vps(&VpsRef::parse("2").unwrap()).await.unwrap();
    assert_eq!((ended.is_vps, ended.node.as_deref(), ended.status), (true, Some("node-up"), VpsStatus::Killed));
    assert_eq!(host.seen(), ["/status/2", "/vps/status", "/vps"]);

    assert!(!client.vps(&VpsRef::parse("3").unwrap()).await.unwrap().is_vps);
    assert_eq!(refused(client.vps(&VpsRef::parse("4").unwrap()).await), Refusal::NotFound);
    assert_eq!(refused(client.vps(&VpsRef::parse("name").unwrap()).await), Refusal::NotFound);
    let all = client.list(true).await.unwrap();
    assert_eq!(all.entries.iter().map(|vps| vps.ssh_port.number()).collect::<Vec<_>>(), [Some(22023), None]);

    host.forget();
    host.on(&format!("/api/status/{ID}"), 200, task("trainer", "paused"));
    assert_eq!(client.vps(&id()).await.unwrap().status, VpsStatus::Paused);
}

#[tokio::test]
async fn each_refusal_of_a_host() {
    let host = FakeHost::start().await;
    let client = client(&host);
    let status = format!("/api/status/{ID}");
    for (code, detail, refusal) in [
        (404, "Task not found.", Refusal::NotFound),
        (401, "Not authenticated", Refusal::TokenNeeded),
        (403, "Anonymous users cannot view task details", Refusal::TokenNeeded),
        (403, "Access denied to this task", Refusal::NotAllowed),
    ] {
        host.on(&status, code, json!({ "detail": detail }));
        host.on("/api/vps/my", 403, json!({ "detail": "Insufficient permissions. Required role: user" }));
        assert_eq!(refused(client.vps(&id()).await), refusal, "{detail}");
    }
}

#[tokio::test]
async fn an_assigned_user_is_found_in_the_assignments() {
    let host = FakeHost::start().await;
    let denied = json!({ "detail": "Access denied to this task" });
    host.on(&format!("/api/status/{ID}"), 403, &denied)
        .on("/api/status/5", 403, &denied)
        .on_with("mine", "/api/vps/my", 200, json!([listed(ID, "trainer", "running")]))
        .on_with("other", "/api/vps/my", 200, "[]");
    let vps = client(&host).with_token(token("mine")).vps(&id()).await.unwrap();
    assert_eq!((vps.is_vps, vps.ssh_port.number()), (true, Some(22023)));
    assert_eq!(refused(client(&host).with_token(token("other")).vps(&id()).await), Refusal::NotAllowed);
    let other = VpsRef::parse("5").unwrap();
    assert_eq!(refused(client(&host).with_token(token("mine")).vps(&other).await), Refusal::NotAllowed);
}

#[tokio::test]
async fn a_name_is_looked_up_and_then_asked_for_by_its_id() {
    let host = FakeHost::start().await;
    let list = json!([listed("5", "trainer", "stopped"), listed(ID, "trainer", "running"), listed("6", "x", "lost")]);
    host.on("/api/vps", 200, list).on(&format!("/api/status/{ID}"), 200, task("trainer", "running"));
    let name = VpsRef::parse("trainer").unwrap();
    assert_eq!(client(&host).vps(&name).await.unwrap().id.to_string(), ID);

    host.on(&format!("/api/status/{ID}"), 403, json!({ "detail": "Access denied to this task" })).on(
        "/api/vps/my",
        200,
        "[]",
    );
    assert_eq!(refused(client(&host).vps(&name).await), Refusal::NotAllowed);
    assert_eq!(refused(client(&host).vps(&VpsRef::parse("nope").unwrap()).await), Refusal::NotFound);
}

#[tokio::test]
async fn a_role_without_the_list_gets_its_own() {
    let host = FakeHost::start().await;
    let low = json!({ "detail": "Insufficient permissions. Required role: viewer" });
    host.on("/api/vps", 403, &low).on("/api/vps/status", 403, &low).on(
        "/api/vps/my",
        200,
        json!([listed(ID, "a", "running"), listed("2", "b", "stopped")]),
    );
    let client = client(&host);
    assert_eq!(client.list(true).await.unwrap().entries.len(), 2);
    assert_eq!(client.list(false).await.unwrap().entries.len(), 1);
    host.on("/api/vps", 401, json!({ "detail": "Not authenticated" }));
    assert!(matches!(client.list(true).await, Err(ApiError::Refusal(Refusal::TokenNeeded))));
}

#[tokio::test]
async fn an_unusable_answer_is_described() {
    let host = FakeHost::start().await;
    let client = client(&host);
    let status = format!("/api/status/{ID}");
    for (code, body, part) in [
        (200, "<html>hello</html>".to_owned(), "unusable answer: its body is not JSON"),
        (200, String::new(), "unusable answer: its body is not JSON"),
        (200, r#"{"task_id":"7427"#.to_owned(), "unusable answer: its body is not JSON"),
        (200, r#"{"task_id":"1","status":"running"}"#.to_owned(), "the answer is about task 1"),
        (200, "{}".to_owned(), "no usable `task_id`"),
        (200, " ".repeat(MAX_BODY + 1), "larger than 16 MiB"),
        (307, String::new(), "answered 307"),
        (404, "<h1>404</h1>".to_owned(), "answered 404: <h1>404</h1>"),
        (422, r#"{"detail":[{"type":"int_parsing"}]}"#.to_owned(), r#"answered 422: [{"type":"int_parsing"}]"#),
        (500, "Internal Server Error".to_owned(), "answered 500: Internal Server Error"),
        (404, r#"{"detail":"Not Found"}"#.to_owned(), "is not a KohakuRiver Host"),
    ] {
        host.on(&status, code, body);
        let error = client.vps(&id()).await.unwrap_err();
        assert!(error.to_string().contains(part) && error.to_string().contains(&host.base), "{part}: {error}");
        assert!(matches!(error.refusal(), Refusal::HostApi(_)), "{error}");
    }
    host.on("/api/nodes", 200, "[1]").on("/api/vps", 200, "{}");
    assert!(client.nodes().await.is_err() && client.list(true).await.is_err());
}

#[tokio::test]
async fn a_host_that_does_not_listen() {
    // The socket keeps other tests from getting the port.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let client = Client::new(&format!("http://{}", socket.local_addr().unwrap()), None).unwrap();
    let error = client.vps(&id()).await.unwrap_err();
    let Refusal::HostDown(text) = error.refusal() else { panic!("{error:?}") };
    assert!(text.starts_with("Connection refused"), "{text}");
}

#[tokio::test]
async fn a_host_that_never_answers() {
    let host = FakeHost::start().await;
    host.on(&format!("/api/status/{ID}"), 0, "");
    let client = client(&host);
    let call = tokio::spawn(async move { client.vps(&id()).await });
    // Paused earlier, the clock would advance before the real sockets are ready.
    while host.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, ApiError::Timeout { limit: REQUEST_LIMIT, .. }), "{error:?}");
}

#[tokio::test]
async fn a_token_is_sent_in_the_form_that_hosts_accept() {
    let host = FakeHost::start().await;
    host.on_with("sekrit", &format!("/api/status/{ID}"), 200, task("t", "running")).on(
        &format!("/api/status/{ID}"),
        403,
        json!({ "detail": "Anonymous users cannot view task details" }),
    );
    let client = client(&host);
    assert_eq!(refused(client.vps(&id()).await), Refusal::TokenNeeded);
    assert_eq!(refused(client.with_token(token("wrong")).vps(&id()).await), Refusal::TokenNeeded);
    assert!(client.with_token(token("sekrit")).vps(&id()).await.is_ok());
}

#[tokio::test]
async fn a_name_becomes_an_id_in_one_request() {
    let host = FakeHost::start().await;
    let ended = json!({ "task_id": "5", "name": "old", "status": "stopped" });
    host.on("/api/vps/status", 200, json!([listed(ID, "trainer", "running")]))
        .on("/api/vps", 200, json!([listed(ID, "trainer", "running"), ended]))
        .on_with("user", "/api/vps/status", 403, json!({ "detail": "Insufficient permissions." }))
        .on_with("user", "/api/vps/my", 200, json!([listed("6", "mine", "running")]));
    let client = client(&host);
    assert_eq!(client.id_of("Trainer", Case::Kept).await.unwrap().to_string(), ID);
    assert_eq!(host.seen(), ["/api/vps/status"]);
    assert_eq!(client.id_of("old", Case::Kept).await.unwrap().to_string(), "5");
    assert_eq!(refused(client.id_of("none", Case::Kept).await), Refusal::NotFound);
    let user = client.with_token(token("user"));
    assert_eq!(user.id_of("mi", Case::Kept).await.unwrap().to_string(), "6");
}

#[tokio::test]
async fn the_user_of_a_token() {
    let host = FakeHost::start().await;
    host.on("/api/auth/me", 503, json!({ "detail": "Authentication is not enabled on this server" }))
        .on_with("good", "/api/auth/me", 200, json!({ "id": 3, "username": "alice", "role": "user" }))
        .on_with("bad", "/api/auth/me", 200, json!({ "id": -1, "username": "_anonymous", "role": "anony" }))
        .on_with("odd", "/api/auth/me", 200, json!({ "id": 3 }));
    let as_user = |name| client(&host).with_token(token(name));
    assert_eq!(client(&host).user().await.unwrap(), None);
    assert_eq!(as_user("good").user().await.unwrap().unwrap().name, "alice");
    assert_eq!(refused(as_user("bad").user().await), Refusal::TokenNeeded);
    assert!(matches!(as_user("odd").user().await, Err(ApiError::Body { .. })));
    // Without that path, the older generation is known by its other paths.
    host.forget();
    assert!(matches!(client(&host).user().await, Err(ApiError::NotAHost { .. })));
    host.on("/api/nodes", 200, json!([]));
    assert!(matches!(client(&host).user().await, Err(ApiError::NotAHost { .. })));
    host.forget();
    host.on("/nodes", 200, json!([]));
    assert_eq!(client(&host).user().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_pause_takes_its_time() {
    let client = Client::new("http://127.0.0.1:1", None).unwrap();
    let start = tokio::time::Instant::now();
    client.pause(Duration::from_secs(60)).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(60));
}

#[tokio::test]
async fn the_description_of_a_host() {
    let host = FakeHost::start().await;
    host.on("/api/nodes", 200, nodes());
    let about = client(&host).about().await.unwrap();
    assert_eq!((about.at_root, about.software), (false, None));
    for (info, software) in [
        (json!({ "title": "KohakuRiver", "version": "0.8" }), Some("KohakuRiver 0.8")),
        (json!({ "title": "KohakuRiver" }), Some("KohakuRiver")),
        (json!({ "title": "", "version": "0.8" }), Some("0.8")),
        (json!({ "title": 7 }), None),
    ] {
        host.on("/openapi.json", 200, json!({ "info": info }));
        assert_eq!(client(&host).about().await.unwrap().software.as_deref(), software, "{info}");
    }
    host.forget();
    host.on("/nodes", 200, nodes());
    assert!(client(&host).about().await.unwrap().at_root);
}
