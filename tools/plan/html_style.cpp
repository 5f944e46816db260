#include "tools/plan/html_parts.h"

namespace lfm::tools {

/// Long, as it is one style sheet.
std::string html_style() {  // NOLINT(readability-function-size)
    // --device and --ram colour the two memories; the other colours are for text and lines.
    return R"css(
:root { color-scheme: light dark;
  --page: #fcfcfa; --ink: #1d2226; --quiet: #59626a; --line: #dcdfdf; --panel: #f2f3f0;
  --device: #17617f; --ram: #e3e6e4; --edge: #858e95; --neutral: #66717a; }
@media screen and (prefers-color-scheme: dark) { :root {
  --page: #15191c; --ink: #e4e8ea; --quiet: #9da7ae; --line: #333a40; --panel: #1e2327;
  --device: #4fb0d2; --ram: #2a3136; --edge: #727d85; --neutral: #98a3ab; } }

* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums; -webkit-text-size-adjust: 100%; }
main, footer { max-width: 60rem; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 3.5rem; }
footer { padding-top: 3rem; padding-bottom: 3rem; color: var(--quiet); font-size: .8rem; overflow-wrap: anywhere; }
section { margin-top: 4rem; }
h1, h2 { font-weight: 650; line-height: 1.2; letter-spacing: -.012em; text-wrap: balance; }
h1 { font-size: 2.1rem; margin: .2rem 0 .6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 0 0 1.2rem; }
p { margin: 0 0 1rem; max-width: 44rem; overflow-wrap: anywhere; }
figure { margin: 0 0 1.5rem; min-width: 0; }
figcaption { margin-bottom: .3rem; font-size: .9rem; overflow-wrap: anywhere; }
.kicker { margin: 0; color: var(--device); font-size: .85rem; font-weight: 600; }
.about, .note, .remarks { color: var(--quiet); font-size: .9rem; }
.verdict { margin: 2rem 0 1.2rem; font-size: 1.3rem; line-height: 1.35; text-wrap: balance; }

.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: 1.5rem; margin: 0 0 1.8rem;
  padding: 1.4rem 0; border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); }
.tiles dt { color: var(--quiet); font-size: .85rem; }
.tiles dd { margin: 0; }
.tiles .value { font-size: 1.9rem; font-weight: 600; line-height: 1.3; letter-spacing: -.015em; }
.tiles .value span { font-size: 1rem; font-weight: 400; letter-spacing: 0; color: var(--quiet); }
.tiles .about { font-size: .8rem; }
.remarks { margin: 0; padding-left: 1.1rem; max-width: 44rem; overflow-wrap: anywhere; }

.wide { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: .875rem; line-height: 1.4; width: 100%; }
table.narrow { width: auto; min-width: min(26rem, 100%); }
th, td { padding: .34rem 1.4rem .34rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  font-weight: 400; }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--quiet); font-size: .8rem; vertical-align: bottom; }
.number { text-align: right; white-space: nowrap; }
.sum > *, .chosen > * { font-weight: 600; }
.sum > * { border-top: 2px solid var(--edge); }
.sized { width: 40%; min-width: 6rem; }
.reasons { min-width: 42rem; }
.reasons td:nth-child(2), .reasons td:nth-child(3) { white-space: nowrap; }
.reasons td:last-child { width: 60%; }

details { margin-top: .5rem; }
summary { cursor: pointer; padding: .3rem 0; font-size: .9rem; color: var(--device); }
details[open] > summary { margin-bottom: .6rem; }
:focus-visible { outline: 2px solid var(--device); outline-offset: 3px; border-radius: 2px; }
pre { margin: 0 0 1.5rem; padding: .8rem 1rem; background: var(--panel); border-radius: 6px; font-size: .85rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }

svg { display: block; }
svg text { fill: var(--ink); font-size: 12px; }
svg .quiet { fill: var(--quiet); }
svg .strong { font-weight: 600; }
svg .small { fill: var(--quiet); font-size: 10px; }
.bar { overflow: visible; }
.part { stroke: var(--page); stroke-width: 1.5; }
.device { fill: var(--device); }
.ram { fill: var(--neutral); }
.shade-2 { fill-opacity: .84; }
.shade-3 { fill-opacity: .7; }
.shade-4 { fill-opacity: .56; }
.shade-5 { fill-opacity: .42; }
.shade-6 { fill-opacity: .3; }
.axis { stroke: var(--edge); stroke-width: 1; }
.grid { stroke: var(--line); stroke-width: 1; }
.limit { stroke: var(--ink); stroke-width: 2; }
.swatch { display: inline-block; margin-right: .5rem; vertical-align: -.08em; }
.number .swatch { float: left; margin-top: .28em; }
@media (max-width: 920px) { .at-wide { display: none; } }
@media (max-width: 640px) { .at-middle { display: none; } }

.keys { display: flex; flex-wrap: wrap; gap: .3rem 2rem; margin: 0 0 1rem; padding: 0; list-style: none;
  font-size: .9rem; }
.map path { shape-rendering: crispEdges; }
.on-device { fill: var(--device); }
.in-ram { fill: var(--ram); stroke: var(--edge); stroke-width: 1; }
.dense { fill: none; stroke: var(--edge); stroke-width: 1; stroke-dasharray: 2 4; }

.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1rem 2rem; }
.charts figure { margin-bottom: .5rem; }
.chart { width: 100%; max-width: 34rem; height: auto; overflow: visible; }
.chart .limit { stroke-width: 1; stroke-dasharray: 3 3; }
.band { fill: var(--device); fill-opacity: .16; }
.curve { fill: none; stroke: var(--device); stroke-width: 2; stroke-linejoin: round; }
.dot { fill: var(--device); }
.chosen[r] { fill: var(--page); stroke: var(--ink); stroke-width: 2; }
.miss { stroke: var(--quiet); stroke-width: 1.5; }

@media (max-width: 640px) {
  main, footer { padding: 0 1rem; }
  header { padding-top: 2rem; }
  section { margin-top: 3rem; }
  h1 { font-size: 1.6rem; }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1.2rem; }
  .tiles .value { font-size: 1.5rem; }
  th, td { padding-right: .8rem; }
}
@media print {
  :root { --page: #fff; }
  .tiles { grid-template-columns: repeat(4, 1fr); }
  body { font-size: 10.5pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main, footer { max-width: none; padding: 0; }
  header { padding-top: 0; }
  section { margin-top: 2rem; }
  figure, tr, .tiles, .narrow, [aria-labelledby=placement] { break-inside: avoid; }
  h2, summary { break-after: avoid; }
  .wide { overflow: visible; }
  .map { max-width: 100%; height: auto; }
  .reasons { min-width: 0; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
)css";
}

}  // namespace lfm::tools
