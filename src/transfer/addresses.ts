/** Which network an IP address belongs to, so that a site's own services are not reached by a URL that a stranger wrote. */
import { isIP, isIPv4 } from "node:net";

export type AddressKind = "public" | "loopback" | "link-local" | "private" | "reserved";

/** First address, prefix length, kind. Sources: the IANA special-purpose registries. */
const ranges4 = [
  ["0.0.0.0", 8, "loopback"], // "this host": Linux connects 0.0.0.0 to itself
  ["10.0.0.0", 8, "private"],
  ["100.64.0.0", 10, "private"], // carrier-grade NAT; a cloud's metadata service lies in it
  ["127.0.0.0", 8, "loopback"],
  ["169.254.0.0", 16, "link-local"], // metadata services of most clouds
  ["172.16.0.0", 12, "private"],
  ["192.0.0.0", 24, "reserved"], // includes a cloud's metadata service
  ["192.0.2.0", 24, "reserved"],
  ["192.88.99.0", 24, "reserved"],
  ["192.168.0.0", 16, "private"],
  ["198.18.0.0", 15, "reserved"],
  ["198.51.100.0", 24, "reserved"],
  ["203.0.113.0", 24, "reserved"],
  ["224.0.0.0", 4, "reserved"],
  ["240.0.0.0", 4, "reserved"],
  ["168.63.129.16", 32, "link-local"], // a cloud's host agent
] as const;

const ranges6 = [
  ["::", 128, "loopback"],
  ["::1", 128, "loopback"],
  ["64:ff9b:1::", 48, "private"],
  ["100::", 64, "reserved"],
  ["2001::", 23, "reserved"], // Teredo, benchmarking, ORCHID
  ["2001:db8::", 32, "reserved"],
  ["3fff::", 20, "reserved"],
  ["5f00::", 16, "reserved"],
  ["fc00::", 7, "private"], // includes fd00:ec2::254
  ["fe80::", 10, "link-local"],
  ["fec0::", 10, "private"],
  ["ff00::", 8, "reserved"],
] as const;

/** Prefixes whose last or inner 32 bits are an IPv4 address that the packet ends up at: prefix, length, bits right of it. */
const embedded = [
  ["::ffff:0:0", 96, 0n],
  ["::ffff:0:0:0", 96, 0n],
  ["::", 96, 0n],
  ["64:ff9b::", 96, 0n],
  ["2002::", 16, 80n],
] as const;

interface Range {
  readonly first: bigint;
  readonly bits: number;
}

/** A network of `allow_private`: an address or CIDR. */
export interface Network extends Range {
  readonly family: 4 | 6;
  readonly text: string;
}

/** The kind of an address as text without brackets; anything that is no IP address counts as `reserved`. */
export function addressKind(address: string): AddressKind {
  const family = isIP(address);
  if (family === 4) return kindIn(ranges4, parse4(address), 32);
  if (family !== 6 || address.includes("%")) return address.toLowerCase().startsWith("fe8") ? "link-local" : "reserved";
  const value = parse6(address);
  const kind = kindIn(ranges6, value, 128);
  if (kind !== "public") return kind;
  const inner = innerAddress(value);
  return inner === undefined ? "public" : kindIn(ranges4, inner, 32);
}

/** `10.1.0.0/16`, `fd00::/8` or a single address; undefined when it is neither. */
export function parseNetwork(text: string): Network | undefined {
  const [address = "", length, ...rest] = text.split("/");
  const family = isIP(address);
  if (family === 0 || rest.length > 0 || address.includes("%")) return undefined;
  const width = family === 4 ? 32 : 128;
  if (length !== undefined && !/^\d{1,3}$/.test(length)) return undefined;
  const bits = length === undefined ? width : Number(length);
  if (bits > width) return undefined;
  return { family: family === 4 ? 4 : 6, text, first: family === 4 ? parse4(address) : parse6(address), bits };
}

/** True when `address` lies in `network`; a v4 address inside a v6 one (mapped, NAT64, 6to4) is looked at as v4 too. */
export function inNetwork(address: string, network: Network): boolean {
  const family = isIP(address);
  if (family === 0 || address.includes("%")) return false;
  const value = family === 4 ? parse4(address) : parse6(address);
  if (family === network.family) return within(value, network, family === 4 ? 32 : 128);
  const inner = family === 6 ? innerAddress(value) : undefined;
  return inner !== undefined && within(inner, network, 32);
}

function kindIn(
  ranges: readonly (readonly [string, number, AddressKind])[],
  value: bigint,
  width: 32 | 128,
): AddressKind {
  for (const [text, bits, kind] of ranges) {
    const first = width === 32 ? parse4(text) : parse6(text);
    if (within(value, { first, bits }, width)) return kind;
  }
  return "public";
}

function within(value: bigint, range: Range, width: number): boolean {
  const shift = BigInt(width - range.bits);
  return value >> shift === range.first >> shift;
}

function innerAddress(value: bigint): bigint | undefined {
  for (const [prefix, bits, shift] of embedded) {
    if (within(value, { first: parse6(prefix), bits }, 128)) return (value >> shift) & 0xffff_ffffn;
  }
  return undefined;
}

function parse4(text: string): bigint {
  return text.split(".").reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
}

function parse6(text: string): bigint {
  let plain = text;
  const tail = plain.slice(plain.lastIndexOf(":") + 1);
  if (isIPv4(tail)) {
    const value = parse4(tail);
    plain = `${plain.slice(0, -tail.length)}${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`;
  }
  const [left = "", right] = plain.split("::");
  const head = left === "" ? [] : left.split(":");
  const end = right === undefined || right === "" ? [] : right.split(":");
  const zeros = right === undefined ? 0 : 8 - head.length - end.length;
  const groups = [...head, ...Array.from({ length: zeros }, () => "0"), ...end];
  return groups.reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n);
}
