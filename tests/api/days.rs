//! The scripts that play a day of each system: what its document promises, with the scopes that the document names.

use std::path::Path;

use crate::on_both;
use crate::support::Service;

async fn play(service: &Service, script: &str, scopes: &[&str]) {
    let key = service.key_with(scopes, None).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/days/{script}.py"));
    let output = tokio::process::Command::new("python3")
        .arg(path)
        .args([&service.url, &key])
        .output()
        .await
        .expect("python3 is there");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

on_both! {
    async fn a_day_of_a_slab5_workspace(service: Service) {
        let scopes = ["crm:*", "support:*", "tasks:*", "activity:*", "cms:*", "assets:*", "integrations:*", "analytics:*", "bi:*"];
        play(&service, "slab5", &scopes).await;
    }

    async fn a_day_of_a_smartsaas_agent(service: Service) {
        play(&service, "smartsaas", &["company:*", "organiser:*", "kb:read"]).await;
    }

    async fn a_day_of_a_clawcrm_agent(service: Service) {
        play(&service, "clawcrm", &["crm:*", "activity:*", "integrations:*"]).await;
    }

    async fn a_day_of_a_dashboard(service: Service) {
        play(&service, "dashboard", &["kb:*"]).await;
    }
}
