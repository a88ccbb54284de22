//! Third-party clients see no difference between lictor and Consul.

use real::Binary;
use real::story::Story;

#[track_caller]
fn assert_same_transcript(story: Story, lines_min: usize) {
    let expected = story.told_to(Binary::Consul);
    let told = story.told_to(Binary::Lictor);
    assert!(expected.lines().count() >= lines_min, "the story is too short to prove anything:\n{expected}");
    let differing: Vec<String> = expected
        .lines()
        .zip(told.lines())
        .filter(|(consul, lictor)| consul != lictor)
        .map(|(consul, lictor)| format!("consul: {consul}\nlictor: {lictor}"))
        .collect();
    assert!(differing.is_empty(), "{} lines differ:\n{}", differing.len(), differing.join("\n"));
    assert_eq!(expected.lines().count(), told.lines().count());
}

#[test]
fn python_consul_and_dig() {
    assert_same_transcript(Story::Python, 90);
}

#[test]
fn npm_consul() {
    assert_same_transcript(Story::Npm, 20);
}
