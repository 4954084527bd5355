/** Export: every format with its size and how far it is from Keras; the page for a phone with its code. */
import { useState } from "preact/hooks";
import { call, runPath, say } from "./api";
import { useJob } from "./live";
import type { Exported, Format, Job, Studio } from "./types";
import { Command, Field, JobView, Problem } from "./widgets";
import { plural, size } from "./words";

export function Exports({ studio, name, title }: { studio: Studio; name: string; title: string }) {
  const [label, setLabel] = useState(title);
  return (
    <div class="exports">
      <div class="export-head"><Field label="Name" hint="of the app and of the page"><input type="text" value={label} maxLength={40} onInput={(e) => setLabel(e.currentTarget.value)} /></Field></div>
      <ul>{studio.formats.map((format) => <OneFormat key={format.name} format={format} run={name} label={label} />)}</ul>
      <Phone name={name} />
    </div>
  );
}

function OneFormat({ format, run, label }: { format: Format; run: string; label: string }) {
  const work = useJob<Exported>();
  const result = work.job?.state === "done" ? work.job.result : null;
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
          {result.files.length > 4 ? <details><summary>{plural(result.files.length, "file")}, {size(result.files.reduce((sum, file) => sum + file.bytes, 0))}</summary>{list}</details> : list}
          {result.address && <Address address={result.address} qr={result.qr} />}
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
function Phone({ name }: { name: string }) {
  const [served, setServed] = useState<{ address: string | null; qr: string | null } | null>(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const turn = async (on: boolean) => {
    setBusy(true);
    try {
      const answer = await call<{ address: string | null; qr: string | null }>("POST", runPath(name, "/phone"), { on });
      setServed(on && answer.address ? answer : null);
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
        <button type="button" disabled={busy} onClick={() => turn(!served)}>{busy ? "One moment …" : served ? "Stop" : "Show the code"}</button>
      </div>
      <Problem text={problem} />
      {served?.address && <Address address={served.address} qr={served.qr} />}
    </section>
  );
}
