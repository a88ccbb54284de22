//! The order that `sort` brings addresses into.

use std::cmp::Ordering;

use super::Interface;

/// A way to order addresses, and whether it is turned round.
pub(super) type Order = (fn(&Interface, &Interface) -> Ordering, bool);

pub(super) fn order(key: &str) -> Result<Order, String> {
    let key = key.trim().to_ascii_lowercase();
    let descending = key.starts_with('-');
    match key.trim_start_matches(['+', '-']) {
        "address" => Ok((by_address, descending)),
        "default" => Ok((by_default, descending)),
        "name" => Ok((by_name, descending)),
        "size" => Ok((by_size, descending)),
        "type" => Ok((by_type, descending)),
        _ => Err(format!("{key:?} is nothing to sort by")),
    }
}

fn by_address(one: &Interface, other: &Interface) -> Ordering {
    if same_family(one, other) { one.address.cmp(&other.address) } else { Ordering::Equal }
}

pub(super) fn by_default(one: &Interface, other: &Interface) -> Ordering {
    other.default_route.cmp(&one.default_route)
}

fn by_name(one: &Interface, other: &Interface) -> Ordering {
    one.name.cmp(&other.name)
}

/// Big networks first.
pub(super) fn by_size(one: &Interface, other: &Interface) -> Ordering {
    if same_family(one, other) { one.prefix.cmp(&other.prefix) } else { Ordering::Equal }
}

pub(super) fn by_type(one: &Interface, other: &Interface) -> Ordering {
    other.address.is_ipv4().cmp(&one.address.is_ipv4())
}

fn same_family(one: &Interface, other: &Interface) -> bool {
    one.address.is_ipv4() == other.address.is_ipv4()
}

/// Sorts as the Go of Consul 1.8 does up to twelve items: in steps of six, then one by one. Addresses of different
/// families may be equal to each other and not alike to others: what comes out hangs on how it is done, and Rust's own
/// sort takes no such order.
pub(super) fn sort(found: &mut [&Interface], orders: &[Order]) {
    let is_less = |one: &Interface, other: &Interface| {
        let compared = orders.iter().map(|(compare, descending)| {
            let ordering = compare(one, other);
            if *descending { ordering.reverse() } else { ordering }
        });
        compared.fold(Ordering::Equal, Ordering::then) == Ordering::Less
    };
    for place in GAP..found.len() {
        if is_less(found[place], found[place - GAP]) {
            found.swap(place, place - GAP);
        }
    }
    for end in 1..found.len() {
        let mut place = end;
        while place > 0 && is_less(found[place], found[place - 1]) {
            found.swap(place, place - 1);
            place -= 1;
        }
    }
}

const GAP: usize = 6;
