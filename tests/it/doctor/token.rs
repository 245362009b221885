//! The user's token, at a Host with users.

use serde_json::json;

use super::{finding, finds};
use crate::support::cluster::Cluster;
use crate::support::gateway::{Gateway, running};
use crate::support::home::Home;
use crate::support::host_api::{ASSIGNED, OWNER, STRANGER, host_api};
use crate::support::peers::Peer;
use crate::support::run::{Outcome, Run};
use crate::support::scene::ID;

/// A cluster whose Host has users.
struct Guarded {
    cluster: Cluster,
    api: Peer,
    gateway: Gateway,
}

impl Guarded {
    fn new() -> Self {
        let cluster = Cluster::in_home(Home::new());
        let api = host_api(vec![running(ID, cluster.sshd.port)]);
        let gateway = Gateway::with_host_api(&format!("http://{}", api.address));
        Self { cluster, api, gateway }
    }

    fn doctor(&self) -> Run {
        super::doctor(&self.cluster)
            .env("KOHAKURIVER_PORT", self.api.address.port().to_string())
            .through(self.gateway.address.port())
    }

    /// Runs doctor with this token stored, as `auth login` stores it.
    fn with_stored(&self, token: &str) -> Outcome {
        self.cluster.home.secret(".kohakuriver/auth.json", &json!({ "token": token }).to_string());
        let outcome = self.doctor().output();
        outcome.check(!outcome.text().contains(token), "no token");
        outcome
    }
}

#[test]
fn no_token() {
    let outcome = Guarded::new().doctor().output();
    finds(&outcome, "token", &["you are not logged in to the Host"], "kohakuriver auth login");
}

#[test]
fn a_token_that_was_revoked() {
    let outcome = Guarded::new().with_stored("0123456789abcdef-revoked");
    finds(&outcome, "token", &["does not know your token", "revoked"], "kohakuriver auth login");
}

#[test]
fn a_wrong_token_in_the_environment_hides_the_stored_one() {
    let guarded = Guarded::new();
    guarded.with_stored(OWNER).succeeds();
    let outcome = guarded.doctor().env("KOHAKURIVER_TOKEN", "0123456789abcdef-misspelt").output();
    finds(&outcome, "token", &["does not know your token"], "unset KOHAKURIVER_TOKEN");
    outcome.check(!outcome.text().contains("misspelt"), "no token");
}

#[test]
fn a_token_file_that_can_not_be_read() {
    let guarded = Guarded::new();
    guarded.cluster.home.secret(".kohakuriver/auth.json", "{\"token\":\"sekrit");
    let outcome = guarded.doctor().output();
    finds(&outcome, "token", &["cannot use the stored token", "not valid JSON"], "kohakuriver auth login");
    outcome.check(!outcome.text().contains("sekrit"), "no token");
}

#[test]
fn the_token_of_another_user() {
    let guarded = Guarded::new();
    let outcome = guarded.doctor().env("KOHAKURIVER_TOKEN", STRANGER).output();
    finds(&outcome, "vps", &["is not yours to reach"], "kohakuriver auth status");
    let token = finding(&outcome, "token");
    assert_eq!(token["found"], "user stranger1, role user");
    assert_eq!(token["tried"], "the token from KOHAKURIVER_TOKEN");
}

#[test]
fn the_vps_of_another_user() {
    let outcome = Guarded::new().with_stored(STRANGER);
    finds(&outcome, "vps", &["is not yours to reach", "owner"], "kohakuriver auth status");
}

#[test]
fn a_user_to_whom_the_vps_is_assigned() {
    Guarded::new().with_stored(ASSIGNED).succeeds();
}
