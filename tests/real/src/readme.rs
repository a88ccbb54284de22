//! The fenced blocks of a page in Markdown. What a page tells its readers to type, a test types too, so they cannot drift apart.

/// A fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What stands behind the fence, such as `sh`.
    pub language: String,
    /// Its lines, without the indentation of the fence.
    pub text: String,
}

/// The blocks of a page in order.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some((indentation, language)) = line.split_once("```") else { continue };
        let inside = lines.by_ref().take_while(|line| line.trim() != "```");
        let text = inside.map(|line| format!("{}\n", line.strip_prefix(indentation).unwrap_or(line))).collect();
        blocks.push(Block { language: language.to_owned(), text });
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_lose_the_indentation_of_their_fence() {
        let page = "Text\n\n1. Step\n\n   ```sh\n   a\n     b\n   ```\n\n```hcl\nc\n```\n";
        let block = |language: &str, text: &str| Block { language: language.into(), text: text.into() };
        assert_eq!(blocks(page), [block("sh", "a\n  b\n"), block("hcl", "c\n")]);
    }
}
