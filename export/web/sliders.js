// Controls that move latents along directions of the network, and their place in the address.

const MOST = 4; // units to both sides; a unit is one standard deviation of a latent
const sign = (amount) => (amount > 0 ? `+${amount.toFixed(1)}` : amount < 0 ? `−${(-amount).toFixed(1)}` : "0");

/** Return an amount for each of `count` sliders from the address, such as "0,1.5"; what is missing or wrong is 0. */
export function readSliders(text, count) {
  const given = (text ?? "").split(",").map(Number);
  return Array.from({ length: count }, (_, k) => (Math.abs(given[k]) <= MOST ? given[k] : 0));
}

/** Add a control for each slider. changed: called with all amounts when one is moved. Returns { show(amounts) }. */
export function addSliders(panel, sliders, changed) {
  const box = panel.querySelector(".directions");
  box.hidden = !sliders.length;
  const inputs = sliders.map(({ number, name }) => {
    const label = Object.assign(document.createElement("label"), { className: "slider" });
    const text = Object.assign(document.createElement("span"), { textContent: name || `Slider ${number}`, className: "name" });
    const value = Object.assign(document.createElement("span"), { className: "value" });
    const input = Object.assign(document.createElement("input"), { type: "range", min: -MOST, max: MOST, step: 0.1, value: 0, name: `slider-${number}` });
    input.oninput = () => changed(inputs.map((each) => Number(each.value)));
    label.append(text, value, input);
    box.querySelector(".row").append(label);
    return input;
  });
  const reset = box.querySelector("[name=reset]");
  reset.onclick = () => {
    inputs[0].focus(); // the button is turned off now, and would lose the keyboard to the page
    changed(inputs.map(() => 0));
  };
  return {
    show(amounts) {
      inputs.forEach((input, k) => {
        if (Number(input.value) !== amounts[k]) input.value = amounts[k];
        input.parentElement.querySelector(".value").textContent = sign(amounts[k]);
        input.setAttribute("aria-valuetext", sign(amounts[k]));
      });
      reset.disabled = !amounts.some(Boolean);
    },
  };
}
