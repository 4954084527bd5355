/** Export: every format with its size and how far it is from Keras; the page for a phone with its code. */
import { useState } from "preact/hooks";
import { call, runPath, say } from "./api";
import { changed, useJob, useLive } from "./live";
import { useMade } from "./made";
import type { Exported, Format, Job, Phone, Studio } from "./types";
import { Command, Field, JobView, Problem } from "./widgets";
import { moment, plural, size } from "./words";

const LONGEST = 40; // letters of an app's name

export function Exports({ studio, name, title }: { studio: Studio; name: string; title: string }) {
  const [label, setLabel] = useState(title.slice(0, LONGEST));
  const made = useMade(name);
  return (
    <div class="exports">
      <div class="export-head"><Field label="Name" hint="of the app"><input type="text" value={label} maxLength={LONGEST} onInput={(e) => setLabel(e.currentTarget.value)} /></Field></div>
      <Problem text={made.error} />
      <ul>{studio.formats.map((format) => <OneFormat key={format.name} format={format} run={name} label={label} before={made.data?.exports[format.name] ?? null} />)}</ul>
      <OnPhone name={name} exported={!made.data || !!made.data.exports.web} />
    </div>
  );
}

function OneFormat({ format, run, label, before }: { format: Format; run: string; label: string; before: Exported | null }) {
  const work = useJob<Exported>((job) => job.run === run && job.format === format.name);
  const result = work.busy ? null : before ?? (work.job?.state === "done" ? work.job.result : null);
  const list = <ul class="files">{result?.files.map((file) => <li><a href={`${file.url}${file.url.includes("?") ? "&" : "?"}download=1`} download>{file.name}</a><small>{size(file.bytes)}</small></li>)}</ul>;
  return (
    <li class="card format">
      <div class="row between">
        <div class="what"><h2>{format.title}</h2><p>{format.sentence}</p></div>
        {format.available ? <button type="button" disabled={work.busy} onClick={() => work.start(() => call<Job<Exported>>("POST", runPath(run, "/export"), { format: format.name, name: label }))} aria-label={`Export ${format.title}`}>{result ? "Again" : "Export"}</button> : null}
      </div>
      {!format.available && format.missing && <Command text={format.missing} label={`What ${format.title} needs`} />}
      <JobView job={work.job} error={work.error} cancel={work.cancel} />
      {result && (
        <div class="result" role="status">
          {result.parity && <p>{result.parity[0]!.toUpperCase() + result.parity.slice(1)}.</p>}
          {result.files.length > 4 ? <details><summary>{plural(result.files.length, "file")}, {size(result.files.reduce((sum, file) => sum + file.bytes, 0))}, {moment(result.at)}</summary>{list}</details> : list}
        </div>
      )}
    </li>
  );
}

function Address({ address, qr }: { address: string; qr: string | null }) {
  return (
    <div class="address">
      {qr && <img class="qr" src={`data:image/svg+xml,${encodeURIComponent(qr)}`} alt={`Code for the camera of a phone: ${address}`} />}
      <p><a href={address} target="_blank" rel="noreferrer">{address}</a></p>
    </div>
  );
}

/** Serve the exported page to phones in the same network, for as long as it is wished. */
function OnPhone({ name, exported }: { name: string; exported: boolean }) {
  const live = useLive<Phone>(runPath(name, "/phone"), [`runs:${name}`]);
  const served = live.data?.address ? live.data : null;
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const turn = async (on: boolean) => {
    setBusy(true);
    try {
      await call<Phone>("POST", runPath(name, "/phone"), { on });
      changed(`runs:${name}`);
      setProblem(null);
    } catch (error) {
      setProblem(say(error));
    }
    setBusy(false);
  };
  return (
    <section class="card phone" aria-labelledby="phone">
      <div class="row between">
        <div class="what"><h2 id="phone">On a phone, now</h2><p>Shows the exported page to phones in the same network. Whoever has the address sees the page, and nothing else of this machine.</p></div>
        <button type="button" disabled={busy || !(served || exported)} aria-describedby={served || exported ? undefined : "phone-needs"} onClick={() => turn(!served)}>{busy ? "One moment …" : served ? "Stop" : "Show the code"}</button>
      </div>
      {!served && !exported && <p class="hint" id="phone-needs">Export the web page first; then it can be shown.</p>}
      <Problem text={problem ?? live.error} />
      {served?.address && <Address address={served.address} qr={served.qr} />}
    </section>
  );
}
