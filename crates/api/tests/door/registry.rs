//! The registry, for each caller what it may see.

use serde_json::{Value, json};
use shuniu_exchange::Settings;

use crate::client::Open;
use crate::world::{SCHEMA, World};

const NO_SUBJECT: (u16, u64) = (404, 40_401);
const NO_VERSION: (u16, u64) = (404, 40_402);
const NO_SCHEMA: (u16, u64) = (404, 40_403);

fn items(schema: &Value) -> Vec<String> {
    let schema: Value = serde_json::from_str(schema.as_str().unwrap()).unwrap();
    let fields = schema["fields"].as_array().unwrap();
    fields.iter().map(|field| field["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_each_caller_sees_the_schemas_of_its_own_view_and_no_other() {
    let open = Open::new().await;
    assert_eq!(
        open.get("register", "/registry/subjects").await.json(),
        json!(["permit-value", "shop-value"])
    );
    assert_eq!(open.get("hall", "/registry/subjects").await.json(), json!(["shop-value"]));
    assert_eq!(open.get("bank", "/registry/subjects").await.json(), json!([]));

    let latest = "/registry/subjects/shop-value/versions/latest";
    let source = open.get("register", latest).await.json();
    let projected = open.get("hall", latest).await.json();
    assert_eq!((&source["subject"], &source["version"]), (&json!("shop-value"), &json!(1)));
    assert_eq!(items(&source["schema"]), ["id", "name", "owner"]);
    assert_eq!(items(&projected["schema"]), ["id", "name"]);
    assert_ne!(source["id"], projected["id"]);
    assert_eq!(open.get("bank", latest).await.error(), NO_SUBJECT);

    // By id: one's own, and nothing that tells whether another's is there.
    let by_id = |schema: &Value| format!("/registry/schemas/ids/{}", schema["id"]);
    assert_eq!(items(&open.get("hall", &by_id(&projected)).await.json()["schema"]), ["id", "name"]);
    for (system, path) in
        [("hall", by_id(&source)), ("register", by_id(&projected)), ("bank", by_id(&source))]
    {
        assert_eq!(open.get(system, &path).await.error(), NO_SCHEMA, "{system} {path}");
    }
    for id in ["0", "999999", "-1", "x", "4294967296", "99999999999999999999"] {
        let path = format!("/registry/schemas/ids/{id}");
        assert_eq!(open.get("hall", &path).await.error(), NO_SCHEMA, "{id}");
    }

    open.world.revoke_grant("hall-shop").await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(open.get("hall", "/registry/subjects").await.json(), json!([]));
    assert_eq!(open.get("hall", &by_id(&projected)).await.error(), NO_SCHEMA);
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_found_by_number_and_errors_are_confluents() {
    let open = Open::new().await;
    let of = |rest: &str| format!("/registry/subjects/{rest}");
    assert_eq!(open.get("hall", &of("shop-value/versions")).await.json(), json!([1]));
    for version in ["1", "latest", "-1"] {
        let found = open.get("hall", &of(&format!("shop-value/versions/{version}"))).await;
        assert_eq!((found.status, found.json()["version"].as_u64()), (200, Some(1)), "{version}");
        assert_eq!(found.content_type, "application/vnd.schemaregistry.v1+json");
    }
    assert_eq!(open.get("hall", &of("shop-value/versions/2")).await.error(), NO_VERSION);
    assert_eq!(open.get("hall", &of("shop-value/versions/two")).await.error(), (422, 42_202));
    for subject in ["permit-value", "nowhere-value", "shop", "shop-key", "..%2F..%2Fshop-value", "%00-value"]
    {
        assert_eq!(
            open.get("hall", &of(&format!("{subject}/versions"))).await.error(),
            NO_SUBJECT,
            "{subject}"
        );
    }
    for path in [of("%ff/versions"), of("%ff/versions/1"), "/registry/schemas/ids/%ff".to_owned()] {
        assert_eq!(open.get("hall", &path).await.error(), (400, 400), "{path}");
    }
    assert_eq!(open.get("hall", "/registry/schemas/types").await.json(), json!(["AVRO"]));
    assert_eq!(open.get("hall", "/registry/nothing").await.error(), (404, 404));
    assert_eq!(open.request("hall", "DELETE", &of("shop-value/versions/1"), "").await.error(), (405, 405));
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_looked_up_by_what_it_says_and_registered_by_nobody_here() {
    let open = Open::new().await;
    let shop = "/registry/subjects/shop-value";
    // As it was applied, and as another library would write the same schema.
    let other_form: Value = serde_json::from_str(SCHEMA).unwrap();
    for text in [SCHEMA.to_owned(), other_form.to_string()] {
        let body = json!({ "schema": text, "schemaType": "AVRO", "references": [] }).to_string();
        let found = open.post("register", shop, &body).await;
        assert_eq!((found.status, found.json()["version"].as_u64()), (200, Some(1)), "{found:?}");
        let registered = open.post("register", &format!("{shop}/versions"), &body).await;
        assert_eq!(registered.json(), json!({ "id": found.json()["id"] }));
        // The hall may not know that the register's own schema is there.
        assert_eq!(open.post("hall", shop, &body).await.error(), NO_SCHEMA);
        assert_eq!(open.post("bank", shop, &body).await.error(), NO_SUBJECT);
    }
    let unknown = json!({ "schema": "\"string\"" }).to_string();
    assert_eq!(open.post("register", shop, &unknown).await.error(), NO_SCHEMA);
    let versions = format!("{shop}/versions");
    assert_eq!(open.post("register", &versions, &unknown).await.error(), (403, 40_301));
    let protobuf = json!({ "schema": "x", "schemaType": "PROTOBUF" }).to_string();
    for broken in [protobuf.as_str(), "", "{", "[]", "{\"schema\":1}", &"[".repeat(10_000)] {
        let answer = open.post("register", shop, broken).await;
        assert_eq!(answer.error(), (422, 42_201), "{answer:?}");
    }
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let settings = Settings { registry_requests_per_second: 1, ..Settings::default() };
    let open = Open::of(World::with(settings, "").await, |_| {}).await;
    let mut refused = None;
    for _ in 0..200 {
        let answer = open.get("hall", "/registry/subjects").await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.unwrap();
    assert_eq!(refused.error(), (429, 429));
    assert_eq!(refused.retry_after.as_deref(), Some("1"));
    assert_eq!(open.get("register", "/registry/subjects").await.status, 200);
    open.world.close().await;
}
