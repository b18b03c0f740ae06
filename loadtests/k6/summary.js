// k6 counts its requests here; loadtests compares that count with the rows of the samples file.

export function handleSummary(data) {
  return { [__ENV.SUMMARY]: JSON.stringify(data) };
}
