//! Against answers in the shapes of real Hosts, with authentication on and off.

use super::*;
use crate::api::fake_host::FakeHost;
use crate::gateway::decide::directory::Directory;
use crate::gateway::limits::tests::poll;
use crate::gateway::tests::PATIENCE;
use crate::gateway::watch::notices::Notices;
use crate::gateway::watch::notices::tests::Heard;
use crate::target::TaskId;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::LazyLock;
use tokio::time::{advance, pause, resume};

const ID: &str = "7427000000000000001";
/// The address of a client.
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const STALE: Duration = Duration::from_secs(60);

fn vps(id: &str) -> VpsRef {
    VpsRef::Id(TaskId::parse(id).unwrap())
}

fn bearer(token: &str) -> Requester {
    Requester::with(FROM, (!token.is_empty()).then(|| Token::new(token).unwrap()))
}

fn directory(host: &FakeHost) -> Directory {
    Directory::Host(Box::new(HostDirectory::new(Client::new(&host.base, None).unwrap(), STALE)))
}

fn detail(text: &str) -> Value {
    json!({ "detail": text })
}

fn task(port: u16) -> Value {
    json!({
        "task_id": ID, "task_type": "vps", "name": "seed-running", "owner_id": 2, "owner_username": "operator1",
        "status": "running", "assigned_node": "node-up", "ssh_port": port, "started_at": "2026-11-23T12:00:00",
    })
}

fn me(id: i64, name: &str, role: &str) -> Value {
    json!({ "id": id, "username": name, "display_name": null, "role": role, "is_active": true, "created_at": null })
}

/// Other tests look at the counters.
static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::default);

const ME: &str = "/api/auth/me";
const STATUS: &str = "/api/status/7427000000000000001";

/// Authentication is on; `ID` is operator1's, and assigned to `assigned1`. Tokens are their bearers' names.
async fn host() -> FakeHost {
    let host = FakeHost::start().await;
    let anonymous = detail("Anonymous users cannot view task details");
    let too_low = detail("Insufficient permissions. Required role: user");
    host.on(ME, 200, me(-1, "_anonymous", "anony"))
        .on(STATUS, 403, anonymous)
        .on("/api/status/5", 404, detail("Task not found."))
        .on("/api/vps/my", 401, detail("Not authenticated"))
        .on("/api/vps", 401, detail("Not authenticated"))
        .on("/api/nodes", 200, nodes("http://10.0.0.7:8001"))
        .on_with("viewer1", ME, 200, me(4, "viewer1", "viewer"))
        .on_with("viewer1", STATUS, 200, task(22))
        .on_with("viewer1", "/api/vps/my", 403, too_low)
        .on_with("auditor1", ME, 200, me(9, "auditor1", "auditor"))
        .on_with("auditor1", STATUS, 200, task(22));
    for (id, name, role) in [(1, "admin1", "admin"), (2, "operator1", "operator"), (5, "owner1", "user")] {
        host.on_with(name, ME, 200, me(id, name, role)).on_with(name, STATUS, 200, task(22));
    }
    let mut listed = task(22);
    listed.as_object_mut().unwrap().remove("task_type");
    listed["assignees"] = json!([{ "id": 3, "username": "assigned1", "display_name": null }]);
    for (id, name, mine) in [(3, "assigned1", json!([listed])), (6, "stranger1", json!([]))] {
        host.on_with(name, ME, 200, me(id, name, "user"))
            .on_with(name, STATUS, 403, detail("Access denied to this task"))
            .on_with(name, "/api/vps/my", 200, mine);
    }
    host
}

fn nodes(url: &str) -> Value {
    json!([{ "hostname": "node-up", "url": url, "status": "online", "last_heartbeat": "2026-11-23T13:00:00" }])
}

#[tokio::test]
async fn rights_with_authentication_on() {
    let host = host().await;
    let directory = directory(&host);
    let viewer = || Refusal::RoleTooLow("viewer".into());
    for (token, id, expected) in [
        ("admin1", ID, Ok("admin1")),
        ("operator1", ID, Ok("operator1")),
        ("owner1", ID, Ok("owner1")),
        ("assigned1", ID, Ok("assigned1")),
        ("stranger1", ID, Err(Refusal::NotAllowed)),
        ("viewer1", ID, Err(viewer())),
        ("viewer1", "5", Err(viewer())),
        ("auditor1", ID, Err(Refusal::RoleTooLow("auditor".into()))),
        ("", ID, Err(Refusal::TokenNeeded)),
        ("wrong", ID, Err(Refusal::TokenNeeded)),
        // Ids are nothing for strangers.
        ("wrong", "5", Err(Refusal::TokenNeeded)),
        ("owner1", "5", Err(Refusal::NotFound)),
    ] {
        // Twice: what is remembered says the same.
        for _ in 0..2 {
            let requester = bearer(token);
            let got = directory.reach(&vps(id), &requester, &METRICS).await;
            let got = got.map(|admission| {
                assert_eq!((admission.reach.host.as_str(), admission.reach.port), ("10.0.0.7", 22));
                requester.user().unwrap().to_string()
            });
            assert_eq!(got, expected.clone().map(str::to_owned), "{token} {id}");
            // A caller that is refused is known by name as well.
            let known = !["", "wrong"].contains(&token);
            assert_eq!(requester.user().as_deref(), known.then_some(token));
        }
    }
    let nobody = Requester::anonymous(FROM);
    assert_eq!(directory.reach(&vps(ID), &nobody, &METRICS).await, Err(Refusal::TokenNeeded));
    assert_eq!(directory.is_open_to_everyone(&METRICS).await, Some(false));
    // A Host that shows a VPS to anyone.
    host.on(STATUS, 200, task(22));
    directory.reach(&vps(ID), &nobody, &METRICS).await.unwrap();
    assert_eq!(nobody.user(), None);
    assert_eq!(directory.reach(&vps(ID), &bearer(""), &METRICS).await, Err(Refusal::TokenNeeded));
}

#[tokio::test]
async fn with_authentication_off_everyone_may() {
    let host = FakeHost::start().await;
    host.on(ME, 503, detail("Authentication is not enabled on this server")).on(STATUS, 200, task(22)).on(
        "/api/nodes",
        200,
        nodes("http://10.0.0.7:8001"),
    );
    let on = directory(&host);
    for token in ["", "whatever"] {
        let requester = bearer(token);
        on.reach(&vps(ID), &requester, &METRICS).await.unwrap();
        assert_eq!(requester.user(), None, "{token}");
    }
    assert_eq!(on.is_open_to_everyone(&METRICS).await, Some(true));
    // From a proxy in front of a Host, the same status does not mean that.
    host.on(ME, 503, "<html>Service Temporarily Unavailable</html>");
    let down = directory(&host).reach(&vps(ID), &bearer(""), &METRICS).await.unwrap_err();
    assert!(matches!(&down, Refusal::HostApi(why) if why.contains("answered 503")), "{down:?}");
    assert_eq!(directory(&host).is_open_to_everyone(&METRICS).await, None);
}

#[tokio::test]
async fn answers_are_remembered_for_each_token_alone() {
    let host = host().await;
    let directory = directory(&host);
    for _ in 0..3 {
        directory.reach(&vps(ID), &bearer("owner1"), &METRICS).await.unwrap();
    }
    assert_eq!(host.seen(), [ME, STATUS, "/api/nodes"]);
    for token in ["wrong", ""] {
        assert_eq!(directory.reach(&vps(ID), &bearer(token), &METRICS).await, Err(Refusal::TokenNeeded));
    }
    assert_eq!(directory.reach(&vps(ID), &bearer("stranger1"), &METRICS).await, Err(Refusal::NotAllowed));
    assert_eq!(host.seen(), [ME, ME, ME, STATUS, "/api/vps/my"]);
    // Callers without a token are many, and known; a token that is wrong may be right the next moment.
    for (token, asks) in [("", 0), ("wrong", 1)] {
        assert!(directory.reach(&vps("5"), &bearer(token), &METRICS).await.is_err());
        assert_eq!(host.seen().len(), asks, "{token}");
    }
    // A right that is taken away counts after seconds.
    host.on_with("owner1", ME, 200, me(-1, "_anonymous", "anony"));
    directory.reach(&vps(ID), &bearer("owner1"), &METRICS).await.unwrap();
    pass(FRESH).await;
    assert_eq!(directory.reach(&vps(ID), &bearer("owner1"), &METRICS).await, Err(Refusal::TokenNeeded));
}

/// Lets the clock go on, but not the sockets' waits.
async fn pass(time: Duration) {
    pause();
    advance(time).await;
    resume();
}

#[tokio::test]
async fn a_restarted_vps_is_found_at_its_new_port() {
    let host = host().await;
    let directory = directory(&host);
    let owner = bearer("owner1");
    let just_now = directory.reach(&vps(ID), &owner, &METRICS).await.unwrap();
    assert!(directory.reach_anew(&vps(ID), &owner, &just_now, &METRICS).await.is_none());
    host.on_with("owner1", STATUS, 200, task(23));
    let remembered = directory.reach(&vps(ID), &owner, &METRICS).await.unwrap();
    assert_eq!(remembered.reach.port, 22);
    let anew = directory.reach_anew(&vps(ID), &owner, &remembered, &METRICS).await.unwrap().unwrap();
    assert_eq!(anew.reach.port, 23);
    assert_eq!(directory.reach(&vps(ID), &owner, &METRICS).await.unwrap().reach.port, 23);
    let mut paused = task(23);
    paused["status"] = json!("paused");
    host.on_with("owner1", STATUS, 200, paused);
    let remembered = directory.reach(&vps(ID), &owner, &METRICS).await.unwrap();
    let anew = directory.reach_anew(&vps(ID), &owner, &remembered, &METRICS).await.unwrap();
    assert!(matches!(anew, Err(Refusal::Inactive(_))), "{anew:?}");
}

#[tokio::test]
async fn while_the_host_is_down_known_callers_reach_known_vpses() {
    let host = host().await;
    let directory = directory(&host);
    let metrics = Metrics::default();
    let counted = || [&metrics.cache_misses, &metrics.cache_hits, &metrics.cache_stale].map(|counter| counter.value());
    for _ in 0..3 {
        directory.reach(&vps(ID), &bearer("owner1"), &metrics).await.unwrap();
    }
    assert_eq!(counted(), [1, 2, 0]);
    let down = |text: &str| host.forget_and_answer_all(500, text);
    down("Internal Server Error");
    pass(FRESH).await;
    let owner = bearer("owner1");
    directory.reach(&vps(ID), &owner, &metrics).await.unwrap();
    assert_eq!(counted(), [1, 2, 1]);
    assert_eq!(owner.user().as_deref(), Some("owner1"));
    for (token, id) in [("stranger1", ID), ("", ID), ("owner1", "5")] {
        let refusal = directory.reach(&vps(id), &bearer(token), &METRICS).await.unwrap_err();
        assert!(matches!(&refusal, Refusal::HostApi(why) if why.contains("answered 500")), "{token}: {refusal:?}");
    }
    down("nonsense");
    pass(STALE - FRESH - Duration::from_secs(2)).await;
    assert!(directory.reach(&vps(ID), &bearer("owner1"), &METRICS).await.is_ok());
    pass(Duration::from_secs(2)).await;
    assert!(matches!(directory.reach(&vps(ID), &bearer("owner1"), &METRICS).await, Err(Refusal::HostApi(_))));
}

/// A Host that accepts questions and never answers must not hold up known callers.
#[tokio::test]
async fn a_silent_host_is_not_waited_for_where_an_older_answer_is_cached() {
    let host = host().await;
    let directory = std::sync::Arc::new(directory(&host));
    directory.reach(&vps(ID), &bearer("owner1"), &METRICS).await.unwrap();
    host.forget_and_answer_all(0, "");
    pass(FRESH).await;
    let asking = {
        let directory = std::sync::Arc::clone(&directory);
        tokio::spawn(async move { directory.reach(&vps(ID), &bearer("owner1"), &METRICS).await })
    };
    // A clock that is paused earlier would run ahead of the real sockets.
    while host.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    pause();
    let start = Instant::now();
    asking.await.unwrap().unwrap();
    // Once for who asks, and once for what they ask for.
    assert!(start.elapsed() <= 2 * LOOKUP_LIMIT_WITH_OLDER + Duration::from_millis(100), "{:?}", start.elapsed());
}

/// How many slots there are of callers, and of places.
fn slots(directory: &Directory) -> (usize, usize) {
    let Directory::Host(host) = directory else { panic!("no Host") };
    (host.callers.len(), host.places.len())
}

#[tokio::test]
async fn tokens_mean_nothing_without_authentication() {
    let host = FakeHost::start().await;
    let off = detail("Authentication is not enabled on this server");
    host.on(ME, 503, off).on(STATUS, 200, task(22)).on("/api/nodes", 200, nodes("http://10.0.0.7:8001"));
    let directory = directory(&host);
    for n in 0..100 {
        directory.reach(&vps(ID), &bearer(&format!("made-up-{n}")), &METRICS).await.unwrap();
    }
    directory.reach(&vps(ID), &bearer(""), &METRICS).await.unwrap();
    // The first one is asked for as well: it could have been that tokens count.
    assert_eq!(host.seen(), [ME, ME, STATUS, "/api/nodes"]);
    assert_eq!(slots(&directory), (1, 1));
    // A place is invalidated for all callers.
    let known = directory.reach(&vps(ID), &bearer("other"), &METRICS).await.unwrap();
    host.on(STATUS, 200, task(23));
    let anew = directory.reach_anew(&vps(ID), &bearer("other"), &known, &METRICS).await.unwrap().unwrap();
    assert_eq!((anew.reach.port, slots(&directory)), (23, (1, 1)));
    // Authentication is switched on, and off again.
    host.seen();
    host.on(ME, 200, me(-1, "_anonymous", "anony")).on_with("owner1", ME, 200, me(5, "owner1", "user"));
    host.on_with("owner1", STATUS, 200, task(24));
    pass(FRESH).await;
    assert_eq!(directory.reach(&vps(ID), &bearer("made-up-1"), &METRICS).await, Err(Refusal::TokenNeeded));
    let owner = bearer("owner1");
    assert_eq!(directory.reach(&vps(ID), &owner, &METRICS).await.unwrap().reach.port, 24);
    assert_eq!(owner.user().as_deref(), Some("owner1"));
    let off = detail("Authentication is not enabled on this server");
    host.on(ME, 503, &off).on_with("owner1", ME, 503, off);
    pass(FRESH).await;
    assert!(directory.reach(&vps(ID), &bearer("made-up-2"), &METRICS).await.is_ok());
    // Authentication is switched on, and the first caller who asks is known.
    host.on(ME, 200, me(-1, "_anonymous", "anony")).on_with("owner1", ME, 200, me(5, "owner1", "user"));
    pass(FRESH).await;
    let owner = bearer("owner1");
    directory.reach(&vps(ID), &owner, &METRICS).await.unwrap();
    assert_eq!(owner.user().as_deref(), Some("owner1"));
}

#[tokio::test(start_paused = true)]
async fn new_questions_wait_for_those_of_their_own_client() {
    const SHARE: usize = NEW_QUESTIONS_OF_ONE_CLIENT;
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let client = Client::new("http://127.0.0.1:1", None).unwrap();
    let directory = HostDirectory::new(client, STALE);
    let question = || {
        Box::pin(async {
            asked.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<Result<(), ApiError>>().await
        })
    };
    let other = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));
    let ask = async |turns: &Arc<Turns>, from, has_answer| {
        let _turn = directory.turn(turns, from, has_answer).await?;
        directory.limited(has_answer, question(), &METRICS).await
    };
    let mut waiting: Vec<_> =
        (0..3 * NEW_QUESTIONS).map(|_| Box::pin(ask(&directory.new_callers, FROM, false))).collect();
    assert!(waiting.iter_mut().all(|one| poll(one.as_mut()).is_none()));
    assert_eq!(asked.load(Ordering::Relaxed), SHARE);
    // A caller with an older answer doesn't wait with them, and neither do other clients and questions of the other kind.
    for (turns, from, has_answer) in [
        (&directory.new_callers, FROM, true),
        (&directory.new_places, FROM, false),
        (&directory.new_callers, other, false),
    ] {
        let before = asked.load(Ordering::Relaxed);
        assert!(poll(Box::pin(ask(turns, from, has_answer)).as_mut()).is_none());
        assert_eq!(asked.load(Ordering::Relaxed), before + 1);
    }
    // A client that leaves makes room.
    drop(waiting.remove(0));
    assert!(waiting.iter_mut().all(|one| poll(one.as_mut()).is_none()));
    assert_eq!(asked.load(Ordering::Relaxed), SHARE + 4);
    advance(LOOKUP_LIMIT + Duration::from_millis(1)).await;
    let last = waiting.pop().unwrap().await.unwrap_err();
    assert!(matches!(&last, Refusal::Limit(why) if why.contains("too many others")), "{last:?}");
}

#[tokio::test]
async fn the_runners_are_fetched_once_for_all_callers_and_anew_when_they_may_have_changed() {
    let host = host().await;
    let directory = directory(&host);
    for token in ["admin1", "operator1", "owner1"] {
        assert_eq!(directory.reach(&vps(ID), &bearer(token), &METRICS).await.unwrap().reach.host, "10.0.0.7");
        pass(RUNNERS_AGE).await;
    }
    assert_eq!(host.seen().iter().filter(|path| *path == "/api/nodes").count(), 1);
    // A Runner that is offline in the list may have come back since.
    let mut offline = nodes("http://10.0.0.7:8001");
    offline[0]["status"] = json!("offline");
    host.on("/api/nodes", 200, &offline);
    pass(FRESH).await;
    let refused = directory.reach(&vps(ID), &bearer("admin1"), &METRICS).await.unwrap_err();
    assert_eq!(refused, Refusal::RunnerOffline(Some("node-up".into())));
    host.on("/api/nodes", 200, nodes("http://10.0.0.8:8001"));
    pass(RUNNERS_AGE).await;
    assert_eq!(directory.reach(&vps(ID), &bearer("operator1"), &METRICS).await.unwrap().reach.host, "10.0.0.8");
    // For a second, the list counts all the same: somebody may ask again and again.
    host.on("/api/nodes", 200, offline);
    pass(FRESH).await;
    for _ in 0..2 {
        assert!(directory.reach(&vps(ID), &bearer("admin1"), &METRICS).await.is_err());
        host.on("/api/nodes", 200, nodes("http://10.0.0.9:8001"));
    }
    pass(RUNNERS_AGE).await;
    assert_eq!(directory.reach(&vps(ID), &bearer("admin1"), &METRICS).await.unwrap().reach.host, "10.0.0.9");
}

#[tokio::test]
async fn an_unknown_path_does_not_open_a_host_to_everyone() {
    let host = host().await;
    let directory = directory(&host);
    // A proxy in front of the Host has lost its way to it.
    host.on(ME, 404, detail("Not Found")).on_with("owner1", ME, 404, detail("Not Found"));
    for token in ["", "owner1"] {
        let refused = directory.reach(&vps(ID), &bearer(token), &METRICS).await.unwrap_err();
        assert!(matches!(refused, Refusal::HostApi(_)), "{token}: {refused:?}");
    }
    assert_eq!(directory.is_open_to_everyone(&METRICS).await, None);
}

#[tokio::test]
async fn a_host_is_ready_while_it_answers() {
    let host = host().await;
    let directory = directory(&host);
    assert_eq!(directory.ready().await, Ok(()));
    host.forget_and_answer_all(500, "Internal Server Error");
    let why = directory.ready().await.unwrap_err();
    assert!(why.contains("answered 500"), "{why}");
    pause();
    host.forget_and_answer_all(0, "");
    let why = directory.ready().await.unwrap_err();
    assert!(why.contains("gave no answer within 5 s"), "{why}");
}

#[tokio::test]
async fn the_admin_hears_of_a_host_that_is_gone_and_the_page_shows_why() {
    let host = FakeHost::start().await;
    host.forget_and_answer_all(500, "Internal Server Error");
    let heard = Heard::default();
    let state = HostState::new(Notices::to(heard.clone()), true);
    let watched = HostDirectory::new(Client::new(&host.base, None).unwrap(), STALE).telling(state);
    let directory = Directory::Host(Box::new(watched));
    let Directory::Host(watched) = &directory else { panic!("no Host") };
    let checked = async {
        loop {
            let checked = watched.checked().await;
            if checked.asked.is_some() {
                break checked;
            }
            tokio::task::yield_now().await;
        }
    };
    let checked = tokio::select! {
        () = directory.watch() => panic!("nobody watches"),
        checked = timeout(PATIENCE, checked) => checked.expect("nothing is found"),
    };
    assert!(checked.answered.is_none() && checked.why.is_some_and(|why| why.contains("answered 500")));
    assert!(heard.messages().contains("can't be used: it decides on new tunnels"), "{}", heard.text());
}

#[test]
fn the_address_of_the_api() {
    for (base, host, port) in [
        ("http://head:8000", "head", 8000),
        ("http://[::1]:9", "::1", 9),
        ("http://10.0.0.1", "10.0.0.1", 80),
        ("https://head", "head", 443),
        ("https://head:8443", "head", 8443),
    ] {
        let host_directory = HostDirectory::new(Client::new(base, None).unwrap(), STALE);
        assert_eq!(Directory::Host(Box::new(host_directory)).host_api(), Some((host.to_owned(), port)));
    }
}
