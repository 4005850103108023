//! `SmartArt` diagrams: the text of their nodes as a list, in the order of the node tree.

use std::collections::{HashMap, HashSet};

use super::package::{Package, Relations};
use super::{Block, child, runs};
use crate::parse::tree::Element;

/// Maximum nesting of nodes.
const MAX_DEPTH: usize = 32;

/// Returns the text of the diagram whose parts an element (`dgm:relIds`) references.
pub(in crate::parse) fn read(
    package: &mut Package<'_>,
    relations: &Relations,
    ids: &Element,
) -> Vec<Block> {
    let mut root = |part: Option<&str>| part.and_then(|name| package.root(name).ok());
    let blocks = root(relations.of_element(ids, "dm")).map(|model| points(&model));
    match blocks {
        Some(blocks) if !blocks.is_empty() => blocks,
        Some(_) | None => root(relations.of_kind("diagramDrawing").next())
            .map(|drawing| drawn(&drawing))
            .unwrap_or_default(),
    }
}

/// Returns the nodes of a `dgm:dataModel` with text, as list items.
fn points(model: &Element) -> Vec<Block> {
    let mut points: Vec<(&str, String)> = Vec::new();
    let mut document = None;
    for point in child(model, "ptLst").iter().flat_map(|l| l.elements()) {
        let id = point.attribute("modelId").unwrap_or_default();
        match point.attribute("type") {
            Some("doc") => document = Some(id),
            // Transitions between nodes, and presentation nodes.
            Some("pres" | "parTrans" | "sibTrans") => {}
            Some(_) | None => {
                let prompt = child(point, "prSet").and_then(|p| p.attribute("phldr"));
                let text = child(point, "t").map(runs::paragraphs).unwrap_or_default();
                let text = if prompt.is_some_and(super::truth) {
                    String::new()
                } else {
                    text
                };
                points.push((id, text));
            }
        }
    }
    let mut children: HashMap<&str, Vec<(u32, &str)>> = HashMap::new();
    for connection in child(model, "cxnLst").iter().flat_map(|l| l.elements()) {
        if let (Some("parOf") | None, Some(from), Some(to)) = (
            connection.attribute("type"),
            connection.attribute("srcId"),
            connection.attribute("destId"),
        ) {
            let order = connection.attribute("srcOrd").and_then(|o| o.parse().ok());
            children
                .entry(from)
                .or_default()
                .push((order.unwrap_or(u32::MAX), to));
        }
    }
    for list in children.values_mut() {
        list.sort_by_key(|(order, _)| *order);
    }
    let texts: HashMap<&str, &str> = points.iter().map(|(id, t)| (*id, t.as_str())).collect();
    let mut walk = Walk {
        texts,
        children,
        seen: HashSet::new(),
        blocks: Vec::new(),
    };
    if let Some(root) = document {
        walk.below(root, 0);
    }
    // Nodes that no connection reaches.
    for (id, text) in &points {
        if !walk.seen.contains(id) {
            walk.item(text, 0);
        }
    }
    walk.blocks
}

struct Walk<'e> {
    texts: HashMap<&'e str, &'e str>,
    children: HashMap<&'e str, Vec<(u32, &'e str)>>,
    seen: HashSet<&'e str>,
    blocks: Vec<Block>,
}

impl<'e> Walk<'e> {
    fn below(&mut self, id: &'e str, depth: usize) {
        if depth > MAX_DEPTH || !self.seen.insert(id) {
            return;
        }
        for (_, inner) in self.children.get(id).cloned().unwrap_or_default() {
            if self.seen.contains(inner) {
                continue;
            }
            let text = self.texts.get(inner).copied().unwrap_or_default();
            self.item(text, depth);
            // Nodes without text do not add a level.
            self.below(inner, depth + usize::from(!text.trim().is_empty()));
        }
    }

    fn item(&mut self, text: &str, depth: usize) {
        if !text.trim().is_empty() {
            self.blocks.push(Block::Item {
                depth,
                marker: "-".to_owned(),
                text: text.to_owned(),
            });
        }
    }
}

/// Returns the text of a diagram's fallback drawing, for diagrams whose nodes are missing.
fn drawn(drawing: &Element) -> Vec<Block> {
    super::all(drawing, "txBody")
        .into_iter()
        .map(runs::paragraphs)
        .filter(|text| !text.trim().is_empty())
        .map(Block::Paragraph)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tree;

    #[test]
    fn points_stand_in_the_order_of_their_tree_and_prompts_do_not() {
        let point = |id: &str, rest: &str, text: &str| {
            format!("<pt modelId=\"{id}\" {rest}><prSet/><t><p><r><t>{text}</t></r></p></t></pt>")
        };
        let xml = format!(
            "<dataModel><ptLst><pt modelId=\"0\" type=\"doc\"/>{}{}{}{}<pt modelId=\"5\"><prSet phldr=\"1\"/><t><p><r><t>[Text]</t></r></p></t></pt></ptLst>\
             <cxnLst><cxn srcId=\"0\" destId=\"2\" srcOrd=\"1\"/><cxn srcId=\"0\" destId=\"1\" srcOrd=\"0\"/><cxn srcId=\"1\" destId=\"3\" srcOrd=\"0\"/>\
             <cxn srcId=\"3\" destId=\"1\" srcOrd=\"0\"/></cxnLst></dataModel>",
            point("2", "", "second"),
            point("1", "type=\"node\"", "first"),
            point("3", "type=\"asst\"", "inner"),
            point("4", "type=\"sibTrans\"", "arrow"),
        );
        let root = tree::read(&xml).unwrap();
        let blocks = points(child(&root, "dataModel").unwrap());
        let told: Vec<(usize, &str)> = blocks
            .iter()
            .filter_map(|b| match b {
                Block::Item { depth, text, .. } => Some((*depth, text.as_str())),
                Block::Heading { .. } | Block::Paragraph(_) | Block::Table(_) => None,
            })
            .collect();
        assert_eq!(told, [(0, "first"), (1, "inner"), (0, "second")]);
    }
}
