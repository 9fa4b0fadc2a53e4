//! Rows of the demonstration's population, framed by hand: number, name and district, everything else null.

/// A framed row of `schemas/population/v1.avsc`.
#[must_use]
pub fn person(schema: u32, id_no: &str, name: &str, live_division: &str) -> Vec<u8> {
    fn put(text: &str, out: &mut Vec<u8>) {
        // Lengths below 64 take one byte, zigzag.
        out.push(u8::try_from(text.len() * 2).unwrap());
        out.extend_from_slice(text.as_bytes());
    }
    let mut out = vec![0];
    out.extend_from_slice(&schema.to_be_bytes());
    put(id_no, &mut out);
    put(name, &mut out);
    // former_name to hukou_addr
    out.extend_from_slice(&[0; 8]);
    out.push(2);
    put(live_division, &mut out);
    // live_addr to guardian_id_no
    out.extend_from_slice(&[0; 9]);
    out
}

/// A valid citizen number, the `n`th: 1,000 a day from 1950 on.
#[must_use]
pub fn citizen(n: u32) -> String {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let (day, sequence) = (n / 1_000, n % 1_000);
    let (year, month, day) = (1950 + day / 336, 1 + day / 28 % 12, 1 + day % 28);
    let body = format!("500103{year}{month:02}{day:02}{sequence:03}");
    let sum: u32 = body.bytes().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    let check = b"10X98765432".get(usize::try_from(sum % 11).unwrap()).unwrap();
    format!("{body}{}", char::from(*check))
}
