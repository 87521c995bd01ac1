"""The report page's style sheet: one accent for what edgekit made, greys for what it is compared with."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #fcfcfa; --sheet: #ffffff; --ink: #1c2024; --soft: #5d6670; --rule: #e2e4e1;
  --optimized: #0b7a6b; --baseline: #7c8894; --padded: #c2b8a6; --tint: #eef6f4; --warn: #8a5a00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --sheet: #1a1e22; --ink: #e8eaec; --soft: #9aa4ae; --rule: #2c3238;
    --optimized: #3fc7b0; --baseline: #7f8c99; --padded: #8f8169; --tint: #17302d; --warn: #e0b050;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Roboto,
  "Helvetica Neue", "DejaVu Sans", sans-serif; -webkit-text-size-adjust: 100%;
}
main { max-width: 1100px; margin: 0 auto; padding: 56px 24px 80px; }
h1 { margin: 0; font-size: 34px; line-height: 1.15; letter-spacing: -0.02em; font-weight: 650;
  overflow-wrap: anywhere; }
h2 { margin: 0 0 16px; font-size: 18px; font-weight: 620; letter-spacing: -0.005em; }
section { margin-top: 52px; }
.eyebrow { margin: 0 0 10px; color: var(--soft); font-size: 13px; letter-spacing: 0.02em; }
.board { margin: 6px 0 0; color: var(--soft); font-size: 17px; }
.chips, .legend { list-style: none; margin: 16px 0 0; padding: 0; display: flex; flex-wrap: wrap; gap: 8px; }
.chip { border: 1px solid var(--rule); border-radius: 99px; padding: 2px 12px; font-size: 13px; color: var(--soft); }
.tiles { margin: 36px 0 0; display: grid; grid-template-columns: repeat(4, 1fr); border: 1px solid var(--rule);
  border-radius: 10px; background: var(--sheet); }
.tile { padding: 20px 22px; display: flex; flex-direction: column; border-left: 1px solid var(--rule); }
.tile:first-child { border-left: 0; }
.tile dt { order: 2; margin-top: 8px; font-size: 14px; line-height: 1.4; }
.tile dd { order: 1; margin: 0; font-size: 32px; line-height: 1.1; font-weight: 640; letter-spacing: -0.02em;
  color: var(--optimized); font-variant-numeric: tabular-nums; white-space: nowrap; }
.tile .aside { order: 3; margin-top: auto; padding-top: 6px; font-size: 13px; font-weight: 400; letter-spacing: 0;
  line-height: 1.4; color: var(--soft); }
.note { margin: 12px 0 0; color: var(--soft); font-size: 14px; }
.scroll { overflow-x: auto; border: 1px solid var(--rule); border-radius: 10px; background: var(--sheet); }
.scroll:focus-visible { outline: 2px solid var(--optimized); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 11px 12px; text-align: right; vertical-align: top; border-top: 1px solid var(--rule); }
thead th { border-top: 0; color: var(--soft); font-size: 12.5px; font-weight: 500; line-height: 1.35;
  vertical-align: bottom; }
th:first-child { text-align: left; min-width: 180px; }
tbody th { font-weight: 500; }
td { white-space: nowrap; }
tr.strong { background: var(--tint); }
tr.strong th, tr.strong td { font-weight: 620; }
figure { margin: 0 0 26px; padding: 22px 22px 16px; border: 1px solid var(--rule); border-radius: 10px;
  background: var(--sheet); }
figure:last-child { margin-bottom: 0; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 20px; } .pair figure { margin: 0; }
figcaption { margin-top: 10px; color: var(--soft); font-size: 13px; }
svg { display: block; width: 100%; height: auto; font: 13px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
svg text { fill: var(--ink); dominant-baseline: central; }
svg .tick { fill: var(--soft); font-size: 12px; }
svg .value { font-weight: 600; font-variant-numeric: tabular-nums; }
svg .grid, svg .axis { stroke: var(--rule); fill: none; }
svg .axis { stroke: var(--soft); }
svg .whisker { stroke: var(--ink); stroke-width: 1.5; fill: none; }
svg .bar.optimized { fill: var(--optimized); } svg .bar.baseline { fill: var(--baseline); }
svg .bar.padded { fill: var(--padded); }
svg .disc { stroke: var(--sheet); stroke-width: 1; fill: var(--baseline); fill-opacity: 0.5; }
svg .disc.front { fill: var(--optimized); fill-opacity: 0.75; } svg .disc.knee { fill: var(--ink); fill-opacity: 0.9; }
svg .gate { stroke: var(--warn); stroke-dasharray: 6 4; fill: none; }
svg .heat { fill: var(--optimized); stroke: var(--rule); } svg .value.deep { fill: var(--sheet); }
svg .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
svg .line.optimized { stroke: var(--optimized); stroke-width: 2.5; } svg .line.baseline { stroke: var(--baseline); }
svg .line.padded { stroke: var(--padded); stroke-dasharray: 6 3; }
.legend { margin: 0 0 12px; gap: 20px; font-size: 13px; }
.legend i { display: inline-block; width: 18px; height: 0; border-top: 3px solid; margin-right: 8px;
  vertical-align: middle; }
.legend .optimized { color: var(--optimized); } .legend .baseline { color: var(--baseline); }
.legend .padded { color: var(--padded); border-top-style: dashed; }
.pairs { margin: 0; display: grid; grid-template-columns: minmax(110px, max-content) 1fr; gap: 8px 28px;
  font-size: 14.5px; }
.pairs dt { color: var(--soft); } .pairs dd { margin: 0; max-width: 76ch; overflow-wrap: anywhere; }
.remarks { margin: 0; padding-left: 20px; color: var(--warn); font-size: 14.5px; }
@media (max-width: 760px) {
  main { padding: 32px 16px 56px; } h1 { font-size: 27px; }
  .tiles { grid-template-columns: 1fr 1fr; } .tile { padding: 16px; }
  .tile:nth-child(odd) { border-left: 0; } .tile:nth-child(n + 3) { border-top: 1px solid var(--rule); }
  figure { padding: 14px 12px; overflow-x: auto; } svg { min-width: 620px; }
  .pair { grid-template-columns: 1fr; } .pair svg { min-width: 380px; }
  .pairs { grid-template-columns: 1fr; gap: 2px; } .pairs dd { margin-bottom: 10px; }
}
@media print { body { background: none; } section { break-inside: avoid; } main { max-width: none; padding: 0; } }
"""
