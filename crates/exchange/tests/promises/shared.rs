//! Readers of one view share the work of projection, and nothing else.

use shuniu_exchange::Settings;
use shuniu_ledger::Action;

use crate::world::{Seen, World, citizen, clock, deletion, fetch, person, put, seen};
use crate::{DENIED, REGISTER};

/// What the bank is shown, to another system under another pseudonym scope.
const OTHER_SCOPE: &str = r#"
[[grant]]
id = "civil-affairs-population"
system = "civil-affairs"
resource = "population"
modes = ["subscribe"]
purpose = "统计"
basis = "《政务数据共享条例》第二十条"
ends_at = "2030-12-31"
pseudonym_scope = "civil-affairs/population"

[grant.items]
id_no = "pseudonym"
sex = "keep"
birth_date = { generalise = "year" }
live_division = "keep"
marital = "keep"
death_flag = "keep"
"#;

const SYSTEMS: [&str; 4] = ["hall-yuzhong", "hall-jiangbei", "bank-supervisor", "civil-affairs"];

#[tokio::test(flavor = "multi_thread")]
async fn p2_readers_share_the_work_of_their_own_view_alone_and_each_is_decided_for_and_recorded() {
    let world = World::start_with(Settings::default(), clock(), |text| text + OTHER_SCOPE).await;
    let schema = world.schema_id(REGISTER, "population").await;
    let row = |n: u32, division| person(schema, &citizen(n), "欧阳修", Some(division));
    let records = [
        put(&citizen(1), row(1, "500103"), Vec::new()),
        put(&citizen(2), row(2, "500105"), Vec::new()),
        put(&citizen(1), row(1, "500105"), row(1, "500103")),
        deletion(&citizen(2), row(2, "500105")),
    ];
    for record in &records {
        assert_eq!(world.publish(REGISTER, "population", std::slice::from_ref(record)).await.error_code, 0);
    }

    // The first of each view finds nothing that was kept.
    let mut first: Vec<Vec<Seen>> = Vec::new();
    for system in SYSTEMS {
        first.push(world.read(system, "population").await);
    }
    assert_eq!(first[0].iter().map(|seen| seen.offset).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(first[1].iter().map(|seen| seen.offset).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((first[2].len(), first[3].len()), (4, 4));
    assert!(first[2].iter().zip(&first[3]).all(|(bank, civil)| bank.key != civil.key), "a scope is shared");
    for _ in 0..4 {
        for (system, first) in SYSTEMS.iter().zip(&first) {
            assert_eq!(&world.read(system, "population").await, first, "{system}");
        }
    }
    // From within what was kept on.
    let session = world.session("hall-jiangbei").await;
    let rest = seen(&fetch(&session, "population", 2, 0).await);
    assert_eq!(rest, first[1][1..]);

    let entries = world.drafts(Action::Delivered);
    for system in SYSTEMS {
        let own = entries
            .iter()
            .filter(|draft| draft.actor.system.as_ref().is_some_and(|it| it.as_str() == system));
        let expected = if system == "hall-jiangbei" { 6 } else { 5 };
        assert_eq!(own.count(), expected, "{system}");
    }

    // What is kept is nobody's who may not have it.
    let marked = "id = \"jiangbei-population\"\nstate = \"revoked\"";
    world.change(|text| text.replace("id = \"jiangbei-population\"", marked)).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let data = fetch(&session, "population", 0, 0).await;
    assert_eq!((data.error_code, data.records.unwrap_or_default().len()), (DENIED, 0));
    assert_eq!(world.drafts(Action::Delivered).len(), entries.len());
    assert_eq!(world.read("hall-yuzhong", "population").await, first[0]);
}
