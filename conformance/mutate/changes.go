package main

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// swaps are the operators that stand in for others.
var swaps = map[token.Token][]token.Token{
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL},
	token.LAND: {token.LOR}, token.LOR: {token.LAND},
	token.ADD: {token.SUB}, token.SUB: {token.ADD},
	token.MUL: {token.QUO}, token.QUO: {token.MUL},
}

// mutantsOf are the changes of the packages' files whose name holds one of some
// parts, in their order; of all files when there are no parts.
func mutantsOf(ctx context.Context, packages, parts []string) ([]mutant, error) {
	args := append([]string{"list", "-f", `{{$d := .Dir}}{{range .GoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}`}, packages...)
	out, err := exec.CommandContext(ctx, "go", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var all []mutant
	for _, file := range strings.Fields(string(out)) {
		if len(parts) > 0 && !slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(filepath.Base(file), p) }) {
			continue
		}
		m, err := mutantsIn(file, nil)
		if err != nil {
			return nil, err
		}
		all = append(all, m...)
	}
	return all, nil
}

// mutantsIn are the changes of one file; src stands for its content when not nil.
func mutantsIn(file string, src any) ([]mutant, error) {
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, file, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var out []mutant
	at := func(p token.Pos) int { return set.Position(p).Offset }
	add := func(from, to token.Pos, with, format string, args ...any) {
		out = append(out, mutant{file: file, line: set.Position(from).Line, start: at(from), end: at(to), with: with, what: fmt.Sprintf(format, args...)})
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GenDecl:
			return n.Tok == token.VAR // constants are choices, types hold no code
		case *ast.BinaryExpr:
			for _, s := range swaps[n.Op] {
				add(n.OpPos, n.OpPos+token.Pos(len(n.Op.String())), s.String(), "%s for %s", s, n.Op)
			}
		case *ast.IfStmt:
			if _, compares := n.Cond.(*ast.BinaryExpr); !compares {
				add(n.Cond.Pos(), n.Cond.Pos(), "!", "the condition turned round")
			}
		case *ast.Ident:
			if n.Name == "true" || n.Name == "false" {
				with := map[string]string{"true": "false", "false": "true"}[n.Name]
				add(n.Pos(), n.End(), with, "%s for %s", with, n.Name)
			}
		case *ast.IncDecStmt:
			with := map[token.Token]string{token.INC: "--", token.DEC: "++"}[n.Tok]
			add(n.TokPos, n.TokPos+2, with, "%s for %s", with, n.Tok)
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				// An empty statement: what is assigned may then be unused, which does not
				// compile and does not count.
				add(n.Pos(), n.End(), "", "the assignment left out")
			}
		case *ast.ExprStmt:
			add(n.Pos(), n.End(), "", "the call left out")
		case *ast.BranchStmt:
			if n.Label == nil && n.Tok == token.CONTINUE {
				add(n.Pos(), n.End(), "", "continue left out")
			}
		}
		return true
	})
	return out, nil
}
