import { describe, expect, it } from 'vitest';
import { Curtain } from './curtain';

describe('Curtain', () => {
  it('opens at the edge, over the wrap of the timestamp, and never closes again', () => {
    const curtain = new Curtain();
    curtain.edge(1000, 0);
    expect(curtain.frame(2 ** 32 - 9000, 0, true)).toBe(false);
    expect(curtain.frame(2 ** 32 - 3000, 5, true)).toBe(false);
    expect(curtain.frame(950, 10, true)).toBe(true);
    expect(curtain.frame(2 ** 32 - 9000, 15, true)).toBe(true);
    expect(curtain.edge(900_000, 0)).toBe(true);
  });

  it('opens when the edge is named late, if it has been reached', () => {
    const curtain = new Curtain();
    expect(curtain.frame(3000, 0, true)).toBe(false);
    expect(curtain.edge(9000, 0)).toBe(false);
    expect(curtain.frame(9000, 5, true)).toBe(true);
  });

  it('opens at once where there is no timestamp, or nobody to name an edge', () => {
    expect(new Curtain().frame(undefined, 0, true)).toBe(true);
    expect(new Curtain().frame(3000, 0, false)).toBe(true);
  });

  it('keeps to an edge that was named before the box fell silent', () => {
    const curtain = new Curtain();
    curtain.edge(9000, 0);
    expect(curtain.frame(3000, 0, false)).toBe(false);
    expect(curtain.frame(9000, 10, false)).toBe(true);
  });

  it('gives in after a while, counted from the first picture', () => {
    const curtain = new Curtain();
    expect(curtain.opensIn(0)).toBeNull();
    curtain.frame(3000, 100, true);
    expect(curtain.opensIn(150)).toBe(250);
    curtain.edge(90_000, 0);
    expect(curtain.opensIn(150)).toBe(950);
    expect(curtain.isOpen).toBe(false);
    expect(curtain.opensIn(1100)).toBe(0);
    expect(curtain.isOpen).toBe(true);
  });

  it('waits past the edge for a picture that was not held up, but not for long', () => {
    const curtain = new Curtain();
    curtain.edge(9000, 0);
    expect(curtain.frame(6000, 0, true, 20)).toBe(false);
    expect(curtain.frame(9000, 10, true, 130)).toBe(false);
    expect(curtain.opensIn(10)).toBe(250);
    expect(curtain.frame(12_000, 20, true, 61)).toBe(false);
    expect(curtain.frame(15_000, 30, true, 60)).toBe(true);
    const slow = new Curtain();
    slow.frame(9000, 0, true, 130);
    expect(slow.edge(9000, 5)).toBe(false);
    expect(slow.frame(12_000, 254, true, 130)).toBe(false);
    expect(slow.frame(15_000, 255, true, 130)).toBe(true);
  });

  it('does not stay shut over pictures that are decoded and never drawn', () => {
    const curtain = new Curtain();
    expect(curtain.decoded(500)).toBe(false);
    expect(curtain.decoded(1500)).toBe(false);
    expect(curtain.decoded(1501)).toBe(true);
  });
});
