#compdef lokt
# zsh completion for lokt, made by `lokt completions zsh`

_lokt() {
    local -a answers described
    local answer value
    answers=("${(@f)$(command lokt __complete "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")

    if [[ $answers[1] == 'command '* ]]; then
        local skip=${answers[1]#command }
        shift $skip words
        (( CURRENT -= skip ))
        _normal
        return
    fi
    for answer in "${(@)answers[2,-1]}"; do
        value=${answer%%$'\t'*}
        # A colon parts the value from its description.
        if [[ $answer == *$'\t'* ]]; then
            described+=("${value//:/\\:}:${answer#*$'\t'}")
        else
            described+=("${value//:/\\:}")
        fi
    done
    (( $#described )) && _describe -V 'lokt' described
}

# Autoloaded from $fpath this file is the function's body; sourced, it defines the function.
if [[ $funcstack[1] == _lokt ]]; then
    _lokt "$@"
elif (( $+functions[compdef] )); then
    compdef _lokt lokt
fi
