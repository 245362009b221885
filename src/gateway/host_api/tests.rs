use super::*;

fn cluster() -> Cluster {
    Cluster::parse(
        json!({
            "nodes": [
                { "hostname": "node1", "url": "http://10.0.0.1:8001", "status": "online", "total_cores": 8, "rack": 3 },
                { "hostname": "node2", "url": "http://127.0.0.1:8001", "status": "offline", "total_cores": 8 },
            ],
            "vps": [
                { "task_id": "7323718749301768192", "name": "trainer", "status": "running", "assigned_node": "node1",
                  "ssh_port": 32768, "colour": "red" },
                { "task_id": "2", "status": "stopped" },
                { "task_id": "3", "status": "running", "task_type": "command" },
            ],
        })
        .to_string()
        .as_bytes(),
    )
    .unwrap()
}

fn ask(method: &Method, path: &str, query: &str) -> (u16, Value) {
    let cluster = cluster();
    match answer(&cluster, method, path, query) {
        (status, Body::Object(body)) => (status.as_u16(), body),
        (status, Body::List(list)) => (status.as_u16(), list.of(&cluster)),
    }
}

fn get(path: &str) -> (u16, Value) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    ask(&Method::GET, path, query)
}

#[test]
fn a_task_has_its_own_fields_and_the_defaults_of_a_host() {
    let (status, task) = get("/api/status/7323718749301768192");
    assert_eq!((status, &task["task_id"], &task["task_type"]), (200, &json!("7323718749301768192"), &json!("vps")));
    assert_eq!((&task["ssh_port"], &task["colour"]), (&json!(32768), &json!("red")));
    // Every field that a Host always sends.
    for field in [
        "batch_id",
        "name",
        "owner_id",
        "owner_username",
        "approval_status",
        "approved_by_id",
        "approved_by_username",
        "approved_at",
        "rejection_reason",
        "command",
        "arguments",
        "env_vars",
        "required_cores",
        "required_gpus",
        "required_memory_bytes",
        "target_numa_node_id",
        "status",
        "assigned_node",
        "container_name",
        "docker_image_name",
        "docker_privileged",
        "docker_mount_dirs",
        "vps_backend",
        "vm_image",
        "vm_disk_size",
        "vm_ip",
        "stdout_path",
        "stderr_path",
        "exit_code",
        "error_message",
        "submitted_at",
        "started_at",
        "completed_at",
    ] {
        assert!(task.get(field).is_some(), "{field}");
    }
    assert_eq!(get("/api/status/3").1["task_type"], "command");
    assert_eq!(get("/api/status/0002").1["task_id"], "2");
}

#[test]
fn lists_of_vpses_and_nodes() {
    let ids = |path| -> Vec<String> {
        let (status, list) = get(path);
        assert_eq!(status, 200);
        list.as_array().unwrap().iter().map(|vps| vps["task_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("/api/vps"), ["7323718749301768192", "2"]);
    assert_eq!(ids("/api/vps/status"), ["7323718749301768192"]);
    assert!(ids("/api/vps/my").is_empty());
    assert!(get("/api/vps").1[0].get("completed_at").is_some());
    assert!(get("/api/vps/status").1[0].get("completed_at").is_none());
    let nodes = get("/api/nodes").1;
    assert_eq!(
        (&nodes[0]["rack"], &nodes[1]["status"], &nodes[1]["vm_capable"]),
        (&json!(3), &json!("offline"), &json!(false))
    );
}

#[test]
fn health_and_authentication() {
    let (status, health) = get("/api/health");
    assert_eq!((status, &health["aggregate"][0]["onlineNodes"]), (200, &json!(1)));
    assert_eq!(health["aggregate"][0]["totalCores"], 16);
    assert_eq!(health["nodes"][0][1]["hostname"], "node2");
    assert_eq!(get("/api/health?hostname=node2").1[0]["status"], "offline");
    assert_eq!(get("/api/health?hostname=x"), (404, json!({ "detail": "Node x not found in health data." })));
    let off = json!({ "detail": STAND_ALONE });
    assert_eq!(get("/api/auth/me"), (503, off));
    assert_eq!(get("/api/auth/status"), (200, json!({ "auth_enabled": false, "session_expire_hours": null })));
}

#[test]
fn errors_are_those_of_a_host() {
    for path in ["/api/status/1", "/api/status/0", "/api/status/-1", "/api/status/99999999999999999999"] {
        assert_eq!(get(path), (404, json!({ "detail": "Task not found." })), "{path}");
    }
    for path in ["/", "/api", "/api/", "/status/2", "/vps", "/api/status/", "/api/status/2/", "/api/vps/2"] {
        assert_eq!(get(path), (404, json!({ "detail": "Not Found" })), "{path}");
    }
    for id in ["abc", "7.5", "-", "2x"] {
        let (status, body) = get(&format!("/api/status/{id}"));
        let detail = &body["detail"][0];
        assert_eq!((status, &detail["type"], &detail["input"]), (422, &json!("int_parsing"), &json!(id)));
    }
    for path in ["/api/vps", "/api/status/2", "/api/status/nope", "/api/nodes", "/api/health"] {
        let answer = ask(&Method::POST, path, "hostname=x");
        assert_eq!(answer, (405, json!({ "detail": "Method Not Allowed" })), "{path}");
    }
    // A Host has this call, and it changes something.
    assert_eq!(ask(&Method::POST, "/api/vps/stop/2", "").0, 405);
}
