// Rules for the page of a release; code of others below vendor/ is as it was published.
import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: ["**/vendor/**"] },
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2024, sourceType: "module", globals: globals.browser },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "eqeqeq": "error", "no-var": "error", "prefer-const": "error", "no-implicit-globals": "error", "no-shadow": "error",
      "no-self-compare": "off", // the cheapest test for NaN in a loop over millions
      "no-unused-vars": ["error", { argsIgnorePattern: "^_" }], "no-eval": "error", "no-implied-eval": "error",
      "no-undef": "error", "object-shorthand": "error", "curly": ["error", "multi-line"], "max-lines-per-function": ["error", 60],
      "no-restricted-properties": ["error", ...["innerHTML", "outerHTML", "insertAdjacentHTML"].map((property) => ({ property }))],
    },
  },
];
